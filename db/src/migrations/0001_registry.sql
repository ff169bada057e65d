-- Who may ask, what they own, and where its bytes are.
-- One text for both engines; {id}, {bytes} and {word} stand for what each calls them (see migrate.rs).
-- Times are BIGINT microseconds UTC; `uid` is a row's identity on every node, its number only here.

CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE settings (
    name       TEXT PRIMARY KEY,
    value      TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Signing keys; `private` is encrypted with the key file.
CREATE TABLE keys (
    id         TEXT PRIMARY KEY,
    purpose    TEXT NOT NULL,
    private    TEXT NOT NULL,
    public     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT
);

CREATE TABLE users (
    id         {id},
    uid        TEXT NOT NULL UNIQUE,
    name       {word} NOT NULL,
    email      TEXT,
    realname   TEXT,
    comment    TEXT,
    password   TEXT,
    admin      BOOLEAN NOT NULL DEFAULT FALSE,
    version    BIGINT NOT NULL DEFAULT 1,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX users_name_key  ON users (name)  WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX users_email_key ON users (email) WHERE deleted_at IS NULL AND email IS NOT NULL;

CREATE TABLE projects (
    id         {id},
    uid        TEXT NOT NULL UNIQUE,
    name       {word} NOT NULL,
    public     BOOLEAN NOT NULL DEFAULT FALSE,
    owner_id   BIGINT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX projects_name_key ON projects (name) WHERE deleted_at IS NULL;
CREATE INDEX projects_owner ON projects (owner_id);

CREATE TABLE members (
    id         {id},
    uid        TEXT NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES projects (id),
    user_id    BIGINT NOT NULL REFERENCES users (id),
    role       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (project_id, user_id)
);
CREATE INDEX members_user ON members (user_id);

CREATE TABLE robots (
    id          {id},
    uid         TEXT NOT NULL UNIQUE,
    project_id  BIGINT REFERENCES projects (id),
    name        {word} NOT NULL,
    description TEXT,
    secret      TEXT NOT NULL,
    disabled    BOOLEAN NOT NULL DEFAULT FALSE,
    expires_at  BIGINT,
    version     BIGINT NOT NULL DEFAULT 1,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX robots_name_key ON robots (COALESCE(project_id, 0), name);
CREATE INDEX robots_project ON robots (project_id);

-- scope: 0 the system, -1 every project, otherwise a project's number.
CREATE TABLE robot_permissions (
    robot_id BIGINT NOT NULL REFERENCES robots (id) ON DELETE CASCADE,
    scope    BIGINT NOT NULL,
    resource TEXT NOT NULL,
    action   TEXT NOT NULL,
    PRIMARY KEY (robot_id, scope, resource, action)
);
CREATE INDEX robot_permissions_scope ON robot_permissions (scope);

CREATE TABLE repositories (
    id         {id},
    uid        TEXT NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES projects (id),
    name       {word} NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX repositories_project ON repositories (project_id, name);

-- One row per content and generation. state: 0 live, 1 condemned (a push or mount takes it back), 2 deleting (final; a
-- tombstone until an hour after freed_at, when its bytes went), 3 lost (missing or damaged in the store; the next push heals it),
-- 4 suspect (live, and being judged).
CREATE TABLE blobs (
    id         {id},
    digest     TEXT NOT NULL,
    generation BIGINT NOT NULL,
    size       BIGINT NOT NULL,
    location   TEXT NOT NULL,
    state      BIGINT NOT NULL DEFAULT 0,
    state_at   BIGINT NOT NULL,
    freed_at   BIGINT,
    checked_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (digest, generation)
);
CREATE UNIQUE INDEX blobs_digest_key ON blobs (digest) WHERE state <> 2;
CREATE INDEX blobs_state ON blobs (state, freed_at, id) WHERE state <> 0;
CREATE INDEX blobs_checked ON blobs (checked_at, id) WHERE state IN (0, 4);

-- Which repository may read which content. check_at: when the collector should ask whether anything still names it there.
CREATE TABLE repository_blobs (
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    blob_id       BIGINT NOT NULL REFERENCES blobs (id),
    added_at      BIGINT NOT NULL,
    check_at      BIGINT,
    PRIMARY KEY (repository_id, blob_id)
);
CREATE INDEX repository_blobs_blob  ON repository_blobs (blob_id, repository_id);
CREATE INDEX repository_blobs_check ON repository_blobs (check_at, repository_id, blob_id) WHERE check_at IS NOT NULL;

CREATE TABLE artifacts (
    id                {id},
    uid               TEXT NOT NULL UNIQUE,
    repository_id     BIGINT NOT NULL REFERENCES repositories (id),
    digest            TEXT NOT NULL,
    blob_id           BIGINT NOT NULL REFERENCES blobs (id),
    media_type        TEXT NOT NULL,
    artifact_type     TEXT,
    config_media_type TEXT,
    size              BIGINT NOT NULL,
    subject_digest    TEXT,
    annotations       TEXT,
    pushed_at         BIGINT NOT NULL,
    pulled_at         BIGINT,
    UNIQUE (repository_id, digest)
);
CREATE INDEX artifacts_subject ON artifacts (repository_id, subject_digest, id) WHERE subject_digest IS NOT NULL;
CREATE INDEX artifacts_subject_type ON artifacts (repository_id, subject_digest, artifact_type, id) WHERE subject_digest IS NOT NULL;
CREATE INDEX artifacts_blob ON artifacts (blob_id);

-- What a manifest names: its own bytes, its config and layers.
CREATE TABLE artifact_blobs (
    artifact_id   BIGINT NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
    blob_id       BIGINT NOT NULL REFERENCES blobs (id),
    repository_id BIGINT NOT NULL,
    PRIMARY KEY (artifact_id, blob_id)
);
CREATE INDEX artifact_blobs_blob ON artifact_blobs (blob_id, repository_id);

-- Which manifests an index names.
CREATE TABLE artifact_children (
    parent_id BIGINT NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
    child_id  BIGINT NOT NULL REFERENCES artifacts (id),
    PRIMARY KEY (parent_id, child_id)
);
CREATE INDEX artifact_children_child ON artifact_children (child_id, parent_id);

-- A tag is (digest, clock, node): of two writers the later clock wins, then the greater node.
CREATE TABLE tags (
    id            {id},
    uid           TEXT NOT NULL UNIQUE,
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    name          {word} NOT NULL,
    artifact_id   BIGINT NOT NULL REFERENCES artifacts (id),
    digest        TEXT NOT NULL,
    clock         BIGINT NOT NULL,
    node          TEXT NOT NULL,
    pushed_at     BIGINT NOT NULL,
    pulled_at     BIGINT,
    UNIQUE (repository_id, name)
);
CREATE INDEX tags_artifact ON tags (artifact_id);

-- An upload's row is made when bytes are to be counted. epoch: raised by whoever takes the session; every write names it.
-- node: who may still write to the file; empty when nobody does. A node that takes a file from another goes on in its own.
-- hash_state counts for hashed bytes, which were flushed before the row was committed.
CREATE TABLE uploads (
    id         TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    node       TEXT NOT NULL,
    file       TEXT NOT NULL,
    epoch      BIGINT NOT NULL,
    received   BIGINT NOT NULL,
    hash_state {bytes},
    finished   TEXT,
    cancelled  BOOLEAN NOT NULL DEFAULT FALSE,
    started_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX uploads_updated ON uploads (updated_at);

-- What happened, in order, for whoever must follow it. On PostgreSQL a cursor is (tx, id), since numbers are not in commit order.
CREATE TABLE changes (
    id      {id},
    tx      {transaction},
    origin  TEXT NOT NULL,
    clock   BIGINT NOT NULL,
    kind    TEXT NOT NULL,
    key     TEXT NOT NULL,
    payload TEXT NOT NULL,
    at      BIGINT NOT NULL
);
CREATE INDEX changes_cursor ON changes (tx, id);
CREATE INDEX changes_at ON changes (at);

-- state: ready, running, done, failed, stopped. attempt: raised by each claim, and named by every write of its runner;
-- failures: attempts that ended in an error or without a word, not those given back by a node that stopped.
CREATE TABLE jobs (
    id          {id},
    kind        TEXT NOT NULL,
    unique_key  TEXT,
    payload     TEXT NOT NULL,
    state       TEXT NOT NULL,
    priority    BIGINT NOT NULL,
    run_at      BIGINT NOT NULL,
    attempt     BIGINT NOT NULL DEFAULT 0,
    failures    BIGINT NOT NULL DEFAULT 0,
    node        TEXT,
    lease_until BIGINT,
    stop        BOOLEAN NOT NULL DEFAULT FALSE,
    progress    TEXT,
    message     TEXT,
    created_at  BIGINT NOT NULL,
    started_at  BIGINT,
    ended_at    BIGINT
);
CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key) WHERE unique_key IS NOT NULL AND state IN ('ready', 'running');
CREATE INDEX jobs_open ON jobs (priority DESC, run_at, id) WHERE ended_at IS NULL;
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE job_logs (
    id      {id},
    job_id  BIGINT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    line    TEXT NOT NULL
);
CREATE INDEX job_logs_job ON job_logs (job_id, id);

-- Who does what only one node may do. term: raised at each change of holder.
CREATE TABLE leases (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until  BIGINT NOT NULL,
    term   BIGINT NOT NULL
);
