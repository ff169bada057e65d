-- One job system: executions with their tasks, schedules, queues that are paused, the nodes that run jobs; retention, and the trash.

-- parent_id: the execution that a task belongs to; it waits (state `waiting`) until all its tasks have ended. subject_id: the policy
-- that an execution is listed under, 0 for the system. trigger_kind: MANUAL or SCHEDULE for what people see as an execution,
-- empty for what goes on by itself. resource: what a task is about, in words.
ALTER TABLE jobs ADD COLUMN parent_id BIGINT;
ALTER TABLE jobs ADD COLUMN subject_id BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN trigger_kind TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN resource TEXT;

-- cleared_at: of a tombstone, when its place was cleared once more; it goes an hour after that.
ALTER TABLE blobs ADD COLUMN cleared_at BIGINT;

-- When something is enqueued by itself. job: what, as `jobs.payload` has it. cron_kind: Hourly, Daily, Weekly, Custom, or empty where
-- only the expression counts. next_at: when it is due; what was missed is made up for once.
CREATE TABLE schedules (
    id         {id},
    uid        TEXT NOT NULL UNIQUE,
    vendor     TEXT NOT NULL,
    subject_id BIGINT NOT NULL,
    cron       TEXT NOT NULL,
    cron_kind  TEXT NOT NULL,
    job        TEXT NOT NULL,
    params     TEXT NOT NULL,
    next_at    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (vendor, subject_id)
);
CREATE INDEX schedules_next ON schedules (next_at, id);

-- Kinds of jobs that wait until somebody lets them go on; `scheduler` is all schedules.
CREATE TABLE paused_queues (
    name      TEXT PRIMARY KEY,
    paused_at BIGINT NOT NULL
);

-- Who runs jobs.
CREATE TABLE nodes (
    name       TEXT PRIMARY KEY,
    host       TEXT NOT NULL,
    pid        BIGINT NOT NULL,
    workers    BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL
);

-- policy: JSON as `model::retention` writes it.
CREATE TABLE retention_policies (
    id         {id},
    uid        TEXT NOT NULL UNIQUE,
    project_id BIGINT NOT NULL UNIQUE REFERENCES projects (id),
    policy     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- What was deleted and may be restored until expires_at: a manifest with the tags it had, or (without `artifact`, the JSON of its row)
-- tags that were taken from a manifest which is still there. act: what went at once has the same.
CREATE TABLE trash (
    id           {id},
    uid          TEXT NOT NULL UNIQUE,
    act          TEXT NOT NULL,
    project_id   BIGINT NOT NULL,
    repository   {word} NOT NULL,
    digest       TEXT NOT NULL,
    artifact     TEXT,
    accessory_of TEXT,
    size         BIGINT NOT NULL,
    cause        TEXT NOT NULL,
    deleted_by   TEXT NOT NULL,
    deleted_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    UNIQUE (act, repository, digest)
);
CREATE INDEX trash_project ON trash (project_id, deleted_at, id);
CREATE INDEX trash_expires ON trash (expires_at, id);
CREATE INDEX trash_accessories ON trash (act, repository, accessory_of, id) WHERE accessory_of IS NOT NULL;
CREATE INDEX trash_act ON trash (act, repository, id);

CREATE TABLE trash_tags (
    trash_id  BIGINT NOT NULL REFERENCES trash (id) ON DELETE CASCADE,
    name      {word} NOT NULL,
    pushed_at BIGINT NOT NULL,
    pulled_at BIGINT,
    PRIMARY KEY (trash_id, name)
);

-- What the collector must leave alone meanwhile. A row comes in the transaction in which the manifest goes that named the content until
-- then, and no foreign key asks for the content's lock: contents are locked before manifests, and this is after them.
CREATE TABLE trash_blobs (
    trash_id BIGINT NOT NULL REFERENCES trash (id) ON DELETE CASCADE,
    blob_id  BIGINT NOT NULL,
    PRIMARY KEY (trash_id, blob_id)
);
CREATE INDEX trash_blobs_blob ON trash_blobs (blob_id, trash_id);

-- Projects that were deleted and may be restored until expires_at. belongings: what belonged to them, {table: [rows as JSON]}.
CREATE TABLE trashed_projects (
    project_id BIGINT PRIMARY KEY REFERENCES projects (id),
    name       {word} NOT NULL,
    belongings TEXT NOT NULL,
    deleted_by TEXT NOT NULL,
    deleted_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX trashed_projects_name ON trashed_projects (name, deleted_at, project_id);
CREATE INDEX trashed_projects_deleted ON trashed_projects (deleted_at, project_id);
CREATE INDEX trashed_projects_expires ON trashed_projects (expires_at, project_id);
