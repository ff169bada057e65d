-- Indexes of tables that may be large by now: on PostgreSQL built CONCURRENTLY, after the transaction (see migrate.rs).
CREATE INDEX repositories_created ON repositories (created_at, id);
CREATE INDEX repositories_project_created ON repositories (project_id, created_at, id);
CREATE INDEX artifacts_listed ON artifacts (repository_id, pushed_at, id) WHERE listed;
CREATE INDEX artifacts_of_project ON artifacts (project_id, pushed_at, id) WHERE listed;
CREATE INDEX artifacts_accessory ON artifacts (repository_id, accessory_of, id) WHERE accessory_of IS NOT NULL;
CREATE INDEX artifacts_icon ON artifacts (icon) WHERE icon IS NOT NULL;
CREATE INDEX artifacts_undescribed ON artifacts (id) WHERE kind IS NULL;
