-- What Harbor's API keeps beside the registry: groups, metadata, labels, rules, quotas, sessions, the audit, counters.
-- Lines after `-- sqlite:` or `-- postgres:` are for that engine alone, up to `-- both:` (see migrate.rs).

CREATE TABLE user_groups (
    id         {id},
    uid        TEXT NOT NULL UNIQUE,
    name       {word} NOT NULL UNIQUE,
    kind       BIGINT NOT NULL,
    ldap_dn    TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Who was in which group when he last signed in.
CREATE TABLE group_users (
    group_id BIGINT NOT NULL REFERENCES user_groups (id) ON DELETE CASCADE,
    user_id  BIGINT NOT NULL REFERENCES users (id),
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_users_user ON group_users (user_id, group_id);

-- A member is a user or a group.
-- sqlite:
CREATE TABLE members_next (
    id         {id},
    uid        TEXT NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES projects (id),
    user_id    BIGINT REFERENCES users (id),
    group_id   BIGINT REFERENCES user_groups (id),
    role       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (project_id, user_id),
    UNIQUE (project_id, group_id),
    CHECK ((user_id IS NULL) <> (group_id IS NULL))
);
INSERT INTO members_next (id, uid, project_id, user_id, role, created_at, updated_at)
SELECT id, uid, project_id, user_id, role, created_at, updated_at FROM members;
-- Numbers of members who have gone are not given out again.
DELETE FROM sqlite_sequence WHERE name = 'members_next';
INSERT INTO sqlite_sequence (name, seq) SELECT 'members_next', seq FROM sqlite_sequence WHERE name = 'members';
DROP TABLE members;
ALTER TABLE members_next RENAME TO members;
CREATE INDEX members_user ON members (user_id);
-- postgres:
ALTER TABLE members ALTER COLUMN user_id DROP NOT NULL;
ALTER TABLE members ADD COLUMN group_id BIGINT REFERENCES user_groups (id);
ALTER TABLE members ADD CONSTRAINT members_project_id_group_id_key UNIQUE (project_id, group_id);
ALTER TABLE members ADD CONSTRAINT members_entity CHECK ((user_id IS NULL) <> (group_id IS NULL));
-- both:
CREATE INDEX members_group ON members (group_id);

-- trust: what a pull must find signed; bit 1 notation, bit 2 cosign (project_metadata tells the same in Harbor's words).
ALTER TABLE projects ADD COLUMN trust BIGINT NOT NULL DEFAULT 0;

CREATE TABLE project_metadata (
    project_id BIGINT NOT NULL REFERENCES projects (id),
    name       TEXT NOT NULL,
    value      TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (project_id, name)
);

-- project_id: 0 is the system's list. items: a JSON array of CVE ids.
CREATE TABLE cve_allowlists (
    id         {id},
    project_id BIGINT NOT NULL UNIQUE,
    items      TEXT NOT NULL,
    expires_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- duration: days, -1 for ever. hidden: never listed (robots of scanners).
ALTER TABLE robots ADD COLUMN duration BIGINT NOT NULL DEFAULT -1;
ALTER TABLE robots ADD COLUMN creator_kind TEXT NOT NULL DEFAULT 'local';
ALTER TABLE robots ADD COLUMN creator_id BIGINT NOT NULL DEFAULT 1;
ALTER TABLE robots ADD COLUMN hidden BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE robots SET duration = CASE WHEN (expires_at - created_at) / 86400000000 < 1 THEN 1 ELSE (expires_at - created_at) / 86400000000 END
 WHERE expires_at IS NOT NULL;

ALTER TABLE repositories ADD COLUMN description TEXT;
ALTER TABLE repositories ADD COLUMN pulls BIGINT NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN pulled_at BIGINT;

-- kind: IMAGE, CHART …; none until the config was looked at. extra_attrs: JSON. icon: a digest.
-- accessory: its type, when it is one; accessory_of: the digest of its subject (also by cosign's tags, which no `subject` names).
-- listed: shown in lists: no accessory, and tagged or no part of an index.
ALTER TABLE artifacts ADD COLUMN project_id BIGINT NOT NULL DEFAULT 0;
ALTER TABLE artifacts ADD COLUMN kind TEXT;
ALTER TABLE artifacts ADD COLUMN extra_attrs TEXT;
ALTER TABLE artifacts ADD COLUMN icon TEXT;
ALTER TABLE artifacts ADD COLUMN accessory TEXT;
ALTER TABLE artifacts ADD COLUMN accessory_of TEXT;
ALTER TABLE artifacts ADD COLUMN listed BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE artifacts SET
    project_id   = (SELECT r.project_id FROM repositories r WHERE r.id = artifacts.repository_id),
    accessory    = CASE WHEN subject_digest IS NOT NULL THEN 'subject.accessory' END,
    accessory_of = subject_digest,
    listed       = subject_digest IS NULL AND (
        EXISTS (SELECT 1 FROM tags t WHERE t.artifact_id = artifacts.id)
        OR NOT EXISTS (SELECT 1 FROM artifact_children c WHERE c.child_id = artifacts.id));

-- What the index says of a child beside its digest: JSON of platform, annotations, urls.
ALTER TABLE artifact_children ADD COLUMN descriptor TEXT;

-- counted: the content counts for the project's quota: a manifest names it, or it is fresh.
ALTER TABLE repository_blobs ADD COLUMN counted BOOLEAN NOT NULL DEFAULT TRUE;

-- How many repositories of a project count a content; it uses the quota once.
CREATE TABLE project_blobs (
    project_id BIGINT NOT NULL,
    blob_id    BIGINT NOT NULL,
    links      BIGINT NOT NULL,
    PRIMARY KEY (project_id, blob_id)
);
INSERT INTO project_blobs (project_id, blob_id, links)
SELECT r.project_id, l.blob_id, COUNT(*)
  FROM repository_blobs l
  JOIN repositories r ON r.id = l.repository_id
 GROUP BY r.project_id, l.blob_id;

-- hard: bytes, -1 without a limit.
CREATE TABLE quotas (
    id         {id},
    project_id BIGINT NOT NULL UNIQUE REFERENCES projects (id),
    hard       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
INSERT INTO quotas (project_id, hard, created_at, updated_at)
SELECT id, -1, created_at, created_at FROM projects WHERE deleted_at IS NULL ORDER BY id;

-- Totals that would cost too much to count. Writers at once add to different slots; the sum of a counter's slots is its value.
CREATE TABLE counters (
    name TEXT NOT NULL,
    id   BIGINT NOT NULL,
    slot BIGINT NOT NULL,
    n    BIGINT NOT NULL,
    PRIMARY KEY (name, id, slot)
);
INSERT INTO counters (name, id, slot, n)
SELECT 'project.repositories', project_id, 0, COUNT(*) FROM repositories GROUP BY project_id;
INSERT INTO counters (name, id, slot, n)
SELECT 'repository.artifacts', repository_id, 0, COUNT(*) FROM artifacts WHERE listed GROUP BY repository_id;
INSERT INTO counters (name, id, slot, n)
SELECT 'project.artifacts', project_id, 0, COUNT(*) FROM artifacts WHERE listed GROUP BY project_id;
INSERT INTO counters (name, id, slot, n)
SELECT 'project.bytes', p.project_id, 0, CAST(SUM(b.size) AS BIGINT)
  FROM project_blobs p
  JOIN blobs b ON b.id = p.blob_id
 GROUP BY p.project_id;

CREATE TABLE labels (
    id          {id},
    uid         TEXT NOT NULL UNIQUE,
    project_id  BIGINT REFERENCES projects (id),
    name        {word} NOT NULL,
    description TEXT,
    color       TEXT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX labels_name_key ON labels (COALESCE(project_id, 0), name);
CREATE INDEX labels_project ON labels (project_id);

CREATE TABLE artifact_labels (
    artifact_id BIGINT NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
    label_id    BIGINT NOT NULL REFERENCES labels (id) ON DELETE CASCADE,
    added_at    BIGINT NOT NULL,
    PRIMARY KEY (artifact_id, label_id)
);
CREATE INDEX artifact_labels_label ON artifact_labels (label_id, artifact_id);

-- rule: JSON of the selectors, as `model::immutable` writes it; digest: its SHA-256, as an index takes no long text.
CREATE TABLE immutable_rules (
    id         {id},
    uid        TEXT NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES projects (id),
    disabled   BOOLEAN NOT NULL DEFAULT FALSE,
    rule       TEXT NOT NULL,
    digest     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (project_id, digest)
);

-- Browser sessions. id: a hash of the cookie. version: the user's when he signed in; another ends the session.
CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    user_id    BIGINT NOT NULL REFERENCES users (id),
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires_at);

-- Ways back in by mail. id: a hash of what the mail says.
CREATE TABLE password_resets (
    id         TEXT PRIMARY KEY,
    user_id    BIGINT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX password_resets_user ON password_resets (user_id);
CREATE INDEX password_resets_expires ON password_resets (expires_at);

-- Wrong passwords lately (see auth/src/attempts.rs). succeeded_at: when this account last signed in from this address.
CREATE TABLE login_failures (
    name         TEXT PRIMARY KEY,
    failures     BIGINT NOT NULL,
    last_at      BIGINT NOT NULL,
    succeeded_at BIGINT
);
CREATE INDEX login_failures_last ON login_failures (last_at);

-- Who did what, for people. event: Harbor's type (`create_artifact`). forward_only: goes once it was forwarded, and is not shown.
CREATE TABLE audit (
    id            {id},
    tx            {transaction},
    at            BIGINT NOT NULL,
    project_id    BIGINT,
    actor         TEXT NOT NULL,
    address       TEXT,
    event         TEXT NOT NULL,
    operation     TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource      TEXT NOT NULL,
    description   TEXT,
    succeeded     BOOLEAN NOT NULL,
    forward_only  BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX audit_cursor ON audit (tx, id);
CREATE INDEX audit_unsent ON audit (id) WHERE forward_only;
CREATE INDEX audit_at ON audit (at, id, forward_only);
CREATE INDEX audit_project ON audit (project_id, at, id, forward_only);

-- How far a reader of `changes` or `audit` has come.
CREATE TABLE cursors (
    name       TEXT PRIMARY KEY,
    tx         BIGINT NOT NULL,
    id         BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- What went on in a repository, by hour (span 3600) and later by day (span 86400). starts_at: seconds since 1970.
CREATE TABLE activity (
    project_id    BIGINT NOT NULL,
    repository_id BIGINT NOT NULL,
    span          BIGINT NOT NULL,
    starts_at     BIGINT NOT NULL,
    pushes        BIGINT NOT NULL,
    pulls         BIGINT NOT NULL,
    bytes_in      BIGINT NOT NULL,
    bytes_out     BIGINT NOT NULL,
    PRIMARY KEY (project_id, repository_id, span, starts_at)
);
CREATE INDEX activity_starts ON activity (span, starts_at);
