//! An example of each route that changes something.

/// One call for each route that changes something: operation, method, path, body. They run from top to bottom as the
/// administrator, on a fresh server that has a user `bob` and an image `library/app:v1`, so that one may use what those above it made. `{id}` in a path
/// or a body is the last part of the newest `Location` header, or the `id` of the newest answer.
///
/// Who adds a mutating route adds its row here. A route that changes nothing that others may follow (a login, a test mail) stands in
/// [`NO_CHANGE`] instead, with the reason.
pub const EXAMPLES: &[(&str, &str, &str, &str)] = &[
    (
        "createProject",
        "POST",
        "/projects",
        r#"{"project_name":"team"}"#,
    ),
    (
        "updateProject",
        "PUT",
        "/projects/team",
        r#"{"metadata":{"auto_scan":"true"}}"#,
    ),
    (
        "addProjectMetadatas",
        "POST",
        "/projects/team/metadatas/",
        r#"{"prevent_vul":"true"}"#,
    ),
    (
        "updateProjectMetadata",
        "PUT",
        "/projects/team/metadatas/prevent_vul",
        r#"{"prevent_vul":"false"}"#,
    ),
    (
        "deleteProjectMetadata",
        "DELETE",
        "/projects/team/metadatas/prevent_vul",
        "",
    ),
    (
        "setScannerOfProject",
        "PUT",
        "/projects/team/scanner",
        r#"{"uuid":"one"}"#,
    ),
    (
        "createProjectMember",
        "POST",
        "/projects/team/members",
        r#"{"role_id":2,"member_user":{"username":"bob"}}"#,
    ),
    (
        "updateProjectMember",
        "PUT",
        "/projects/team/members/{id}",
        r#"{"role_id":3}"#,
    ),
    (
        "deleteProjectMember",
        "DELETE",
        "/projects/team/members/{id}",
        "",
    ),
    ("deleteProject", "DELETE", "/projects/team", ""),
    // The first project that was made here.
    (
        "restoreTrashedProject",
        "POST",
        "/system/trash/projects/2/restore",
        "",
    ),
    ("deleteProject", "DELETE", "/projects/team", ""),
    (
        "deleteTrashedProject",
        "DELETE",
        "/system/trash/projects/2",
        "",
    ),
    (
        "putSystemCVEAllowlist",
        "PUT",
        "/system/CVEAllowlist",
        r#"{"items":[{"cve_id":"CVE-2024-1"}]}"#,
    ),
    (
        "CreateRobot",
        "POST",
        "/robots",
        r#"{"name":"ci","level":"project","duration":30,"permissions":[{"kind":"project","namespace":"library","access":[{"resource":"repository","action":"pull"}]}]}"#,
    ),
    (
        "UpdateRobot",
        "PUT",
        "/robots/{id}",
        r#"{"name":"robot$library+ci","level":"project","duration":30,"permissions":[{"kind":"project","namespace":"library","access":[{"resource":"repository","action":"push"}]}]}"#,
    ),
    ("RefreshSec", "PATCH", "/robots/{id}", r#"{"secret":""}"#),
    ("DeleteRobot", "DELETE", "/robots/{id}", ""),
    (
        "updateConfigurations",
        "PUT",
        "/configurations",
        r#"{"self_registration":true}"#,
    ),
    (
        "CreateLabel",
        "POST",
        "/labels",
        r#"{"name":"new","scope":"g"}"#,
    ),
    (
        "UpdateLabel",
        "PUT",
        "/labels/{id}",
        r#"{"name":"newer","scope":"g"}"#,
    ),
    (
        "addLabel",
        "POST",
        "/projects/library/repositories/app/artifacts/v1/labels",
        r#"{"id":{id}}"#,
    ),
    (
        "removeLabel",
        "DELETE",
        "/projects/library/repositories/app/artifacts/v1/labels/{id}",
        "",
    ),
    ("DeleteLabel", "DELETE", "/labels/{id}", ""),
    (
        "CreateImmuRule",
        "POST",
        "/projects/library/immutabletagrules",
        r#"{"tag_selectors":[{"kind":"doublestar","decoration":"matches","pattern":"v*"}],"scope_selectors":{"repository":[{"kind":"doublestar","decoration":"repoMatches","pattern":"**"}]}}"#,
    ),
    (
        "UpdateImmuRule",
        "PUT",
        "/projects/library/immutabletagrules/{id}",
        r#"{"id":{id},"disabled":true}"#,
    ),
    (
        "DeleteImmuRule",
        "DELETE",
        "/projects/library/immutabletagrules/{id}",
        "",
    ),
    (
        "createRetention",
        "POST",
        "/retentions",
        r#"{"algorithm":"or","rules":[],"trigger":{"kind":"Schedule","settings":{"cron":""}},"scope":{"level":"project","ref":1}}"#,
    ),
    (
        "updateRetention",
        "PUT",
        "/retentions/{id}",
        r#"{"algorithm":"or","rules":[],"trigger":{"kind":"Schedule","settings":{"cron":"0 0 0 * * *"}},"scope":{"level":"project","ref":1}}"#,
    ),
    ("deleteRetention", "DELETE", "/retentions/{id}", ""),
    (
        "createGCSchedule",
        "POST",
        "/system/gc/schedule",
        r#"{"schedule":{"type":"Daily","cron":"0 0 0 * * *"},"parameters":{"delete_untagged":true}}"#,
    ),
    (
        "updateGCSchedule",
        "PUT",
        "/system/gc/schedule",
        r#"{"schedule":{"type":"None"}}"#,
    ),
    (
        "createPurgeSchedule",
        "POST",
        "/system/purgeaudit/schedule",
        r#"{"schedule":{"type":"Hourly","cron":"0 0 * * * *"},"parameters":{"audit_retention_hour":24,"include_event_types":"pull_artifact"}}"#,
    ),
    (
        "updatePurgeSchedule",
        "PUT",
        "/system/purgeaudit/schedule",
        r#"{"schedule":{"type":"None"},"parameters":{"audit_retention_hour":24,"include_event_types":""}}"#,
    ),
    (
        "updateQuota",
        "PUT",
        "/quotas/1",
        r#"{"hard":{"storage":1000000}}"#,
    ),
    (
        "createUser",
        "POST",
        "/users",
        r#"{"username":"zoe","email":"zoe@example.com","realname":"Zoe","password":"Harbor12345"}"#,
    ),
    (
        "updateUserProfile",
        "PUT",
        "/users/{id}",
        r#"{"email":"zoe@example.org","realname":"Zoe"}"#,
    ),
    (
        "setUserSysAdmin",
        "PUT",
        "/users/{id}/sysadmin",
        r#"{"sysadmin_flag":true}"#,
    ),
    (
        "updateUserPassword",
        "PUT",
        "/users/{id}/password",
        r#"{"new_password":"Another12345"}"#,
    ),
    ("deleteUser", "DELETE", "/users/{id}", ""),
    (
        "createUserGroup",
        "POST",
        "/usergroups",
        r#"{"group_name":"crew","group_type":3}"#,
    ),
    (
        "updateUserGroup",
        "PUT",
        "/usergroups/{id}",
        r#"{"group_name":"staff"}"#,
    ),
    ("deleteUserGroup", "DELETE", "/usergroups/{id}", ""),
    (
        "updateRepository",
        "PUT",
        "/projects/library/repositories/app",
        r#"{"description":"an app"}"#,
    ),
    (
        "createTag",
        "POST",
        "/projects/library/repositories/app/artifacts/v1/tags",
        r#"{"name":"v2"}"#,
    ),
    (
        "deleteTag",
        "DELETE",
        "/projects/library/repositories/app/artifacts/v1/tags/v2",
        "",
    ),
    // The first thing that was deleted here, and the next.
    (
        "restoreTrash",
        "POST",
        "/projects/library/trash/1/restore",
        "",
    ),
    (
        "CopyArtifact",
        "POST",
        "/projects/library/repositories/copied/artifacts?from=library/app:v1",
        "",
    ),
    (
        "deleteArtifact",
        "DELETE",
        "/projects/library/repositories/app/artifacts/v1",
        "",
    ),
    ("deleteTrash", "DELETE", "/projects/library/trash/2", ""),
    (
        "deleteRepository",
        "DELETE",
        "/projects/library/repositories/copied",
        "",
    ),
];

/// Jobs are rows that everybody reads who may; what they change they tell themselves.
const OF_JOBS: &str = "begins or ends jobs of this installation, whose rows say so";
const OF_NODES: &str = "asks a process of this installation, whose row says so";

/// Routes that change nothing that others may follow, each with the reason.
pub const NO_CHANGE: &[(&str, &str)] = &[
    (
        "syncQuota",
        "counts what is there anew, by a job; see quotas.rs",
    ),
    ("stopGC", OF_JOBS),
    ("stopPurge", OF_JOBS),
    ("triggerRetentionExecution", OF_JOBS),
    ("operateRetentionExecution", OF_JOBS),
    ("stopRunningJob", OF_JOBS),
    ("actionPendingJobs", OF_JOBS),
    ("measureSpace", OF_JOBS),
    ("drainNode", OF_NODES),
    ("resumeNode", OF_NODES),
    ("setCliSecret", "nobody has one before OIDC"),
    ("login", "tells the audit alone; see sessions.rs"),
    (
        "userExists",
        "only reads; a POST so that no name stands in a log",
    ),
    ("resetPassword", "needs a letter; see password_mail.rs"),
    (
        "renameAdmin",
        "takes the administrator's name; see sessions.rs",
    ),
];
