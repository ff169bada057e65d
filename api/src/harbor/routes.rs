//! The table: every route with who may call it, in the order of Harbor's groups.

use model::permission::{
    Action::{Create, Delete, List, Read, Stop, Update},
    Resource,
};

use super::{
    access::Access::{Anybody, Inside, Project, SignedIn, System},
    artifacts, audit, browser, configurations, cve_allowlists, devcenter, gc, health, icons,
    immutable_rules, jobservice, labels, members, nodes, permissions, ping, project_metadata,
    projects, purge_audit, quotas, repositories, retentions, robots,
    route::{Route, beside, delete, get, head, patch, post, put, tagged},
    scanners, schedules, search, space, statistics, systeminfo, trash, usergroups, users,
};

/// A robot belongs to the system or to a project, and only the robot itself tells.
const OF_ROBOTS: &str =
    "whoever has the right on robots where this one belongs: on the system, or in its project";

const OF_SERIES: &str =
    "administrators of the system, and of a project for whoever may read its repositories";

/// The same holds for labels.
const OF_LABELS: &str =
    "whoever has the right on labels where this one belongs: on the system, or in its project";

/// Nobody is refused who signed in; he sees what he may.
const OF_AUDIT: &str = "everybody who signed in: with `audit-log:list` all of it, else what concerns the projects whose log he may list";

/// A policy belongs to a project, which the body or the policy's row names.
const OF_RETENTION: &str = "whoever has the right on tag retention in the project of the policy; strangers are asked to sign in";

/// Everybody changes himself.
const ONESELF: &str = "the user himself, and whoever has the right on users of the system";

/// All rows: method, path, Harbor's name of the operation, who may, the handler, what it does.
#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "a table is read down, not through")]
pub(super) fn table() -> Vec<Route> {
    let mut all = Vec::new();
    all.extend(tagged("project", vec![
        get("/projects",                                         "listProjects",                   Anybody,                               projects::list,      "Projects that the caller may see"),
        head("/projects",                                        "headProject",                    SignedIn,                              projects::head,      "Whether there is a project of a name"),
        post("/projects",                                        "createProject",                  SignedIn,                              projects::create,    "Make a project"),
        get("/projects/{project_name_or_id}",                    "getProject",                     Project(Resource::Project, Read),      projects::get,       "One project"),
        put("/projects/{project_name_or_id}",                    "updateProject",                  Project(Resource::Project, Update),    projects::update,    "Change a project's metadata and its allowlist"),
        delete("/projects/{project_name_or_id}",                 "deleteProject",                  Project(Resource::Project, Delete),    projects::delete,    "Delete a project that holds no repositories"),
        get("/projects/{project_name_or_id}/_deletable",         "getProjectDeletable",            Project(Resource::Project, Delete),    projects::deletable, "Whether a project can be deleted"),
        get("/projects/{project_name_or_id}/artifacts",          "listArtifactsOfProject",         Project(Resource::Artifact, List),     artifacts::list_of_project, "The artifacts of all repositories of a project"),
        get("/projects/{project_name_or_id}/summary",            "getProjectSummary",              Project(Resource::Project, Read),      projects::summary,   "A project's quota, and how much it has"),
        get("/projects/{project_name}/logs",           "getLogs",    Project(Resource::Log, List),     audit::of_project_older, "What was done in a project, in the older form"),
        get("/projects/{project_name}/auditlog-exts",  "getLogExts", Project(Resource::Log, List),     audit::of_project,       "What was done in a project, and by whom"),
        get("/projects/{project_name_or_id}/scanner",            "getScannerOfProject",            Project(Resource::Scanner, Read),      scanners::of_project, "The scanner of a project"),
        put("/projects/{project_name_or_id}/scanner",            "setScannerOfProject",            Project(Resource::Scanner, Create),    scanners::choose,    "Choose the scanner of a project"),
        get("/projects/{project_name_or_id}/scanner/candidates", "listScannerCandidatesOfProject", Project(Resource::Scanner, Create),    scanners::candidates, "Scanners that a project may choose"),
    ]));
    all.extend(tagged("projectMetadata", vec![
        get("/projects/{project_name_or_id}/metadatas",                "listProjectMetadatas",  Project(Resource::Metadata, List),   project_metadata::list,   "A project's metadata"),
        post("/projects/{project_name_or_id}/metadatas",               "addProjectMetadatas",   Project(Resource::Metadata, Create), project_metadata::add,    "Add one key to a project's metadata"),
        get("/projects/{project_name_or_id}/metadatas/{meta_name}",    "getProjectMetadata",    Project(Resource::Metadata, Read),   project_metadata::get,    "One key of a project's metadata"),
        put("/projects/{project_name_or_id}/metadatas/{meta_name}",    "updateProjectMetadata", Project(Resource::Metadata, Update), project_metadata::update, "Set one key of a project's metadata"),
        delete("/projects/{project_name_or_id}/metadatas/{meta_name}", "deleteProjectMetadata", Project(Resource::Metadata, Delete), project_metadata::delete, "Forget one key of a project's metadata"),
    ]));
    all.extend(tagged("member", vec![
        get("/projects/{project_name_or_id}/members",          "listProjectMembers",  Project(Resource::Member, List),   members::list,   "Members of a project"),
        post("/projects/{project_name_or_id}/members",         "createProjectMember", Project(Resource::Member, Create), members::create, "Make somebody a member of a project"),
        get("/projects/{project_name_or_id}/members/{mid}",    "getProjectMember",    Project(Resource::Member, Read),   members::get,    "One member of a project"),
        put("/projects/{project_name_or_id}/members/{mid}",    "updateProjectMember", Project(Resource::Member, Update), members::update, "Give a member another role"),
        delete("/projects/{project_name_or_id}/members/{mid}", "deleteProjectMember", Project(Resource::Member, Delete), members::delete, "End a membership"),
    ]));
    all.extend(tagged("user", vec![
        get("/users",                      "listUsers",                 System(Resource::User, List), users::list, "People, without the first administrator"),
        post("/users",                     "createUser",                Inside("whoever may create users on the system, or, where self registration is on, everybody from a page"), users::create, "Make a user"),
        get("/users/current",              "getCurrentUserInfo",        SignedIn, users::current, "Whoever asks"),
        get("/users/search",               "searchUsers",               SignedIn, users::search, "People by a part of their names"),
        get("/users/current/permissions",  "getCurrentUserPermissions", SignedIn, users::permissions, "What whoever asks may do, on the system or in a project"),
        get("/users/{user_id}",            "getUser",                   Inside(ONESELF), users::get, "One user"),
        put("/users/{user_id}",            "updateUserProfile",         Inside(ONESELF), users::update, "Change what a user says about himself"),
        delete("/users/{user_id}",         "deleteUser",                System(Resource::User, Delete), users::delete, "Delete a user; his name is free again"),
        put("/users/{user_id}/sysadmin",   "setUserSysAdmin",           System(Resource::User, Update), users::set_sysadmin, "Make a user an administrator, or no longer"),
        put("/users/{user_id}/password",   "updateUserPassword",        Inside(ONESELF), users::set_password, "Change a user's password; his sessions and tokens end"),
        put("/users/{user_id}/cli_secret", "setCliSecret",              Inside("nobody before somebody can sign in by OIDC"), users::set_cli_secret, "Change the secret of somebody who signs in by OIDC"),
    ]));
    all.extend(tagged("usergroup", vec![
        get("/usergroups",               "listUserGroups",   System(Resource::UserGroup, List), usergroups::list, "Groups of people"),
        post("/usergroups",              "createUserGroup",  System(Resource::UserGroup, Create), usergroups::create, "Make a group"),
        get("/usergroups/search",        "searchUserGroups", SignedIn, usergroups::search, "Groups by a part of their names"),
        get("/usergroups/{group_id}",    "getUserGroup",     System(Resource::UserGroup, Read), usergroups::get, "One group"),
        put("/usergroups/{group_id}",    "updateUserGroup",  System(Resource::UserGroup, Update), usergroups::update, "Rename a group"),
        delete("/usergroups/{group_id}", "deleteUserGroup",  System(Resource::UserGroup, Delete), usergroups::delete, "Delete a group; its memberships end"),
    ]));
    all.extend(tagged("repository", vec![
        get("/repositories",                                            "listAllRepositories", Anybody, repositories::list_all, "The repositories of all projects that the caller may look into"),
        get("/projects/{project_name}/repositories",                    "listRepositories", Project(Resource::Repository, List), repositories::list, "The repositories of a project"),
        get("/projects/{project_name}/repositories/{repository_name}",  "getRepository",    Project(Resource::Repository, Read), repositories::get,  "One repository"),
        put("/projects/{project_name}/repositories/{repository_name}",  "updateRepository", Project(Resource::Repository, Update), repositories::update, "Set a repository's description"),
        delete("/projects/{project_name}/repositories/{repository_name}", "deleteRepository", Project(Resource::Repository, Delete), repositories::delete, "Delete a repository with all it holds"),
    ]));
    all.extend(tagged("artifact", artifact_routes()));
    all.extend(tagged("robot", vec![
        get("/robots",                "ListRobot",    Inside(OF_ROBOTS), robots::list,    "Robots of the system, or of a project"),
        post("/robots",               "CreateRobot",  Inside(OF_ROBOTS), robots::create,  "Make a robot, on the system or in a project"),
        get("/robots/{robot_id}",     "GetRobotByID", Inside(OF_ROBOTS), robots::get,     "One robot"),
        put("/robots/{robot_id}",     "UpdateRobot",  Inside(OF_ROBOTS), robots::update,  "Replace a robot's description, duration, permissions, and whether it is disabled"),
        patch("/robots/{robot_id}",   "RefreshSec",   Inside(OF_ROBOTS), robots::refresh, "Give a robot a new secret"),
        delete("/robots/{robot_id}",  "DeleteRobot",  Inside(OF_ROBOTS), robots::delete,  "Delete a robot"),
    ]));
    all.extend(tagged("systeminfo", vec![
        get("/systeminfo",         "getSystemInfo", Anybody, systeminfo::get, "What the system is; more for those who signed in"),
        get("/systeminfo/volumes", "getVolumes",    System(Resource::SystemVolumes, Read), systeminfo::volumes, "The room that the store has"),
        get("/systeminfo/getcert", "getCert",       Anybody, systeminfo::getcert, "The certificate of the authority that signed this server's"),
    ]));
    all.extend(tagged("configure", vec![
        get("/configurations", "getConfigurations",    System(Resource::Configuration, Read),   configurations::get,    "The settings, and which may be changed"),
        put("/configurations", "updateConfigurations", System(Resource::Configuration, Update), configurations::update, "Change settings; those not named stay"),
        get("/internalconfig", "getInternalconfig",    Inside("Harbor's internal services, of which there are none here"), configurations::internal, "Refused to everybody"),
    ]));
    all.extend(tagged("search", vec![
        get("/search", "search", Anybody, search::search, "Projects and repositories by a part of their name"),
    ]));
    all.extend(tagged("statistic", vec![
        get("/statistics",        "getStatistic",       SignedIn,          statistics::get,    "How many projects and repositories there are"),
        get("/statistics/series", "getStatisticSeries", Inside(OF_SERIES), statistics::series, "Pushes, pulls and bytes by the hour or the day"),
    ]));
    all.extend(tagged("SystemCVEAllowlist", vec![
        get("/system/CVEAllowlist", "getSystemCVEAllowlist", SignedIn,                                cve_allowlists::get, "The system's list of vulnerabilities that do not count"),
        put("/system/CVEAllowlist", "putSystemCVEAllowlist", System(Resource::Configuration, Update), cve_allowlists::put, "Replace that list"),
    ]));
    all.extend(tagged("label", vec![
        get("/labels",               "ListLabels",   Anybody,           labels::list,   "Labels of the system, or of a project"),
        post("/labels",              "CreateLabel",  Inside(OF_LABELS), labels::create, "Make a label, of the system or of a project"),
        get("/labels/{label_id}",    "GetLabelByID", Inside(OF_LABELS), labels::get,    "One label"),
        put("/labels/{label_id}",    "UpdateLabel",  Inside(OF_LABELS), labels::update, "Change a label's name, description and color"),
        delete("/labels/{label_id}", "DeleteLabel",  Inside(OF_LABELS), labels::delete, "Delete a label, also from the artifacts that have it"),
    ]));
    all.extend(tagged("gc", vec![
        get("/system/gc",             "getGCHistory",     System(Resource::GarbageCollection, List),   gc::history,  "Collections that were asked for, the newest first"),
        get("/system/gc/{gc_id}",     "getGC",            System(Resource::GarbageCollection, Read),   gc::get,      "One collection"),
        put("/system/gc/{gc_id}",     "stopGC",           System(Resource::GarbageCollection, Stop),   gc::stop,     "Stop a collection"),
        get("/system/gc/{gc_id}/log", "getGCLog",         System(Resource::GarbageCollection, Read),   gc::log,      "What a collection tells"),
        get("/system/gc/schedule",    "getGCSchedule",    System(Resource::GarbageCollection, Read),   gc::schedule, "When collections begin by themselves"),
        post("/system/gc/schedule",   "createGCSchedule", System(Resource::GarbageCollection, Create), gc::create,   "Begin a collection, or say when they begin"),
        put("/system/gc/schedule",    "updateGCSchedule", System(Resource::GarbageCollection, Update), gc::update,   "Begin a collection, or say when they begin"),
    ]));
    all.extend(tagged("purge", vec![
        get("/system/purgeaudit",                "getPurgeHistory",     System(Resource::PurgeAudit, List),   purge_audit::history,  "Purges of the audit, the newest first"),
        get("/system/purgeaudit/{purge_id}",     "getPurgeJob",         System(Resource::PurgeAudit, Read),   purge_audit::get,      "One purge of the audit"),
        put("/system/purgeaudit/{purge_id}",     "stopPurge",           System(Resource::PurgeAudit, Stop),   purge_audit::stop,     "Stop a purge of the audit"),
        get("/system/purgeaudit/{purge_id}/log", "getPurgeJobLog",      System(Resource::PurgeAudit, Read),   purge_audit::log,      "What a purge of the audit tells"),
        get("/system/purgeaudit/schedule",       "getPurgeSchedule",    System(Resource::PurgeAudit, Read),   purge_audit::schedule, "When purges of the audit begin by themselves"),
        post("/system/purgeaudit/schedule",      "createPurgeSchedule", System(Resource::PurgeAudit, Create), purge_audit::create,   "Begin a purge of the audit, or say when they begin"),
        put("/system/purgeaudit/schedule",       "updatePurgeSchedule", System(Resource::PurgeAudit, Update), purge_audit::update,   "Begin a purge of the audit, or say when they begin"),
    ]));
    all.extend(tagged("Retention", vec![
        get("/retentions/metadatas",                        "getRentenitionMetadata",    SignedIn,             retentions::metadatas,  "What the rules of a retention policy can say"),
        post("/retentions",                                 "createRetention",           Inside(OF_RETENTION), retentions::create,     "Give a project its retention policy"),
        get("/retentions/{id}",                             "getRetention",              Inside(OF_RETENTION), retentions::get,        "One retention policy"),
        put("/retentions/{id}",                             "updateRetention",           Inside(OF_RETENTION), retentions::update,     "Change a retention policy"),
        delete("/retentions/{id}",                          "deleteRetention",           Inside(OF_RETENTION), retentions::delete,     "Delete a retention policy"),
        post("/retentions/{id}/executions",                 "triggerRetentionExecution", Inside(OF_RETENTION), retentions::execute,    "Apply a retention policy, or see what that would do"),
        get("/retentions/{id}/executions",                  "listRetentionExecutions",   Inside(OF_RETENTION), retentions::executions, "When a retention policy was applied, the newest first"),
        patch("/retentions/{id}/executions/{eid}",          "operateRetentionExecution", Inside(OF_RETENTION), retentions::operate,    "Stop applying a retention policy"),
        get("/retentions/{id}/executions/{eid}/tasks",      "listRetentionTasks",        Inside(OF_RETENTION), retentions::tasks,      "The repositories to which a retention policy was applied"),
        get("/retentions/{id}/executions/{eid}/tasks/{tid}", "getRetentionTaskLog",      Inside(OF_RETENTION), retentions::task_log,   "Of each artifact what became of it, and why"),
    ]));
    all.extend(tagged("jobservice", vec![
        get("/jobservice/pools",                   "getWorkerPools",    System(Resource::JobserviceMonitor, List), jobservice::pools,   "Nodes that run jobs"),
        get("/jobservice/pools/{pool_id}/workers", "getWorkers",        System(Resource::JobserviceMonitor, List), jobservice::workers, "What runs on a node, or on all"),
        put("/jobservice/jobs/{job_id}",           "stopRunningJob",    System(Resource::JobserviceMonitor, Stop), jobservice::stop,    "Stop a job, or all that run"),
        get("/jobservice/jobs/{job_id}/log",       "actionGetJobLog",   System(Resource::JobserviceMonitor, List), jobservice::log,     "What a job tells"),
        get("/jobservice/queues",                  "listJobQueues",     System(Resource::JobserviceMonitor, List), jobservice::queues,  "What waits of each kind"),
        put("/jobservice/queues/{job_type}",       "actionPendingJobs", System(Resource::JobserviceMonitor, Stop), jobservice::act,     "Stop what waits, pause a queue or let it go on"),
    ]));
    all.extend(tagged("schedule", vec![
        get("/schedules",                   "listSchedules",     System(Resource::JobserviceMonitor, List), schedules::list,   "What begins by itself, and when"),
        get("/schedules/{job_type}/paused", "getSchedulePaused", SignedIn,                                  schedules::paused, "Whether nothing begins by itself"),
    ]));
    all.extend(tagged("trash", vec![
        get("/projects/{project_name_or_id}/trash",                     "listTrash",    Project(Resource::Artifact, Delete), trash::list,    "What was deleted from a project and may come back"),
        post("/projects/{project_name_or_id}/trash/{trash_id}/restore", "restoreTrash", Project(Resource::Artifact, Delete), trash::restore, "Bring back what was deleted, with its tags and what belongs to it"),
        delete("/projects/{project_name_or_id}/trash/{trash_id}",       "deleteTrash",  Project(Resource::Artifact, Delete), trash::delete,  "End something in the trash for good"),
    ]));
    all.extend(tagged("trash", vec![
        get("/system/trash/projects",                       "listTrashedProjects",  System(Resource::Project, Delete), trash::list_projects,   "Projects that were deleted and may come back"),
        post("/system/trash/projects/{project_id}/restore", "restoreTrashedProject", System(Resource::Project, Delete), trash::restore_project, "Bring back a project with its members, robots, labels and rules"),
        delete("/system/trash/projects/{project_id}",       "deleteTrashedProject", System(Resource::Project, Delete), trash::delete_project,  "End a project in the trash for good"),
    ]));
    all.extend(tagged("nodes", vec![
        get("/system/nodes",                     "listNodes",  System(Resource::JobserviceMonitor, List), nodes::list,   "The processes that serve this registry"),
        post("/system/nodes/{node_name}/drain",  "drainNode",  System(Resource::Configuration, Update), nodes::drain,  "Ask a node to take no new work: /readyz says so, and it begins no jobs"),
        post("/system/nodes/{node_name}/resume", "resumeNode", System(Resource::Configuration, Update), nodes::resume, "Let a node take work again"),
    ]));
    all.extend(tagged("space", vec![
        get("/system/space",               "getSpace",     System(Resource::SystemVolumes, Read),   space::get,     "Where the space went, when it was last measured"),
        post("/system/space/measurements", "measureSpace", System(Resource::SystemVolumes, Create), space::measure, "Measure the store anew"),
    ]));
    all.extend(tagged("quota", vec![
        get("/quotas",      "listQuotas",  System(Resource::Quota, List),   quotas::list,   "How much each project may hold, and how much it does"),
        get("/quotas/{id}", "getQuota",    System(Resource::Quota, Read),   quotas::get,    "One quota"),
        put("/quotas/{id}", "updateQuota", System(Resource::Quota, Update), quotas::update, "Set how much a project may hold"),
    ]));
    all.extend(tagged("immutable", vec![
        get("/projects/{project_name_or_id}/immutabletagrules",                        "ListImmuRules",  Project(Resource::ImmutableTag, List),   immutable_rules::list,   "The rules that make tags of a project immutable"),
        post("/projects/{project_name_or_id}/immutabletagrules",                       "CreateImmuRule", Project(Resource::ImmutableTag, Create), immutable_rules::create, "Make tags of a project immutable"),
        put("/projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}",    "UpdateImmuRule", Project(Resource::ImmutableTag, Update), immutable_rules::update, "Replace a rule, or switch it off and on"),
        delete("/projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}", "DeleteImmuRule", Project(Resource::ImmutableTag, Delete), immutable_rules::delete, "Delete a rule"),
    ]));
    all.extend(tagged("auditlog", vec![
        get("/audit-logs",            "listAuditLogs",          Inside(OF_AUDIT),                         audit::list_older,  "What was done, in the older form"),
        get("/auditlog-exts",         "listAuditLogExts",       Inside(OF_AUDIT),                         audit::list,        "What was done, and by whom"),
        get("/auditlog-exts/events",  "listAuditLogEventTypes", System(Resource::AuditLog, List), audit::event_types, "The types of events that may be switched off"),
    ]));
    all.extend(tagged("permissions", vec![
        get("/permissions", "getPermissions", Inside("administrators of the system or of any project"), permissions::list, "The rights that robots may be given"),
    ]));
    all.extend(tagged("health", vec![
        get("/health", "getHealth", Anybody, health::get, "Whether the parts work; always 200"),
    ]));
    all.extend(tagged("ping", vec![
        get("/ping", "getPing", Anybody, ping::ping, "Says that somebody is there"),
    ]));
    all.extend(tagged("icon", vec![
        get("/icons/{digest}", "getIcon", Anybody, icons::get, "A small picture that stands for a kind of artifact, or for one"),
    ]));
    all.extend(beside("", "beside", vec![
        get("/api/version",      "getVersion",  Anybody, ping::version,  "The version of the API"),
        post("/api/internal/renameadmin", "renameAdmin", Inside("the first administrator"), browser::rename_admin, "Rename the first administrator to admin@harbor.local"),
        post("/api/internal/syncquota", "syncQuota", Inside("administrators"), quotas::recount, "Count anew what all projects use"),
        post("/c/login",      "login",      Inside("whoever brings a name and its password"), browser::login, "Begin a session"),
        get("/c/log_out",     "logOut",     Anybody, browser::log_out, "End the session"),
        post("/c/userExists", "userExists", Inside("administrators, and everybody where self registration is on"), browser::user_exists, "Whether somebody has a name or an e-mail address"),
        get("/c/sendEmail",   "sendEmail",  Anybody, browser::send_email, "Send a way back in to whoever has the e-mail address"),
        post("/c/reset",      "resetPassword", Inside("whoever brings what a mail says"), browser::reset, "Set a new password by what a mail says"),
        get("/api/openapi.json", "getDocument", Anybody, ping::document, "This document"),
        get("/devcenter-api-2.0", "getDevcenter", Anybody, devcenter::page, "This document as a page"),
        get("/devcenter-api-2.0/rapidoc-9.3.8.js", "getDevcenterScript", Anybody, devcenter::script, "What shows it"),
    ]));
    all
}

/// What is below `/projects/{project_name}/repositories/{repository_name}/artifacts`.
#[rustfmt::skip]
fn artifact_routes() -> Vec<Route> {
    let all = vec![
        get("",                                          "listArtifacts",   Project(Resource::Artifact, List),   artifacts::list,   "The artifacts of a repository"),
        post("",                                         "CopyArtifact",    Project(Resource::Artifact, Create), artifacts::copy,   "Copy an artifact of another repository, with all that belongs to it"),
        get("/{reference}",                              "getArtifact",     Project(Resource::Artifact, Read),   artifacts::get,    "One artifact, by tag or digest"),
        delete("/{reference}",                           "deleteArtifact",  Project(Resource::Artifact, Delete), artifacts::delete, "Delete an artifact with its tags and accessories"),
        get("/{reference}/tags",                         "listTags",        Project(Resource::Tag, List),        artifacts::list_tags, "The tags of an artifact"),
        post("/{reference}/tags",                        "createTag",       Project(Resource::Tag, Create),      artifacts::create_tag, "Tag an artifact"),
        delete("/{reference}/tags/{tag_name}",           "deleteTag",       Project(Resource::Tag, Delete),      artifacts::delete_tag, "Remove a tag and nothing else"),
        post("/{reference}/labels",                      "addLabel",        Project(Resource::ArtifactLabel, Create), artifacts::add_label, "Put a label on an artifact"),
        delete("/{reference}/labels/{label_id}",         "removeLabel",     Project(Resource::ArtifactLabel, Delete), artifacts::remove_label, "Take a label off an artifact"),
        get("/{reference}/accessories",                  "listAccessories", Project(Resource::Accessory, List),  artifacts::list_accessories, "What is attached to an artifact"),
        get("/{reference}/additions/vulnerabilities",    "getVulnerabilitiesAddition", Project(Resource::ArtifactAddition, Read), artifacts::vulnerabilities, "What scanners found in an artifact"),
        get("/{reference}/additions/{addition}",         "getAddition",     Project(Resource::ArtifactAddition, Read), artifacts::addition, "What an artifact brings to read"),
    ];
    beside("/projects/{project_name}/repositories/{repository_name}/artifacts", "", all).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::Method;

    use super::*;
    use crate::harbor::{
        openapi,
        route::{Found, Routes},
        routes,
    };

    #[test]
    fn the_table_can_be_searched_and_names_each_operation_once() {
        let routes = Routes::new(table());
        let operations: HashSet<_> = routes.all().iter().map(|route| route.operation).collect();
        assert_eq!(operations.len(), routes.all().len());
    }

    #[test]
    fn whatever_writes_is_guarded() {
        for route in routes().all() {
            assert!(
                matches!(route.method, Method::GET | Method::HEAD) || route.access != Anybody,
                "{} {} writes and is open to everybody",
                route.method,
                route.path
            );
        }
    }

    #[test]
    fn paths_are_found_as_clients_write_them() {
        for (method, path, operation) in [
            (
                Method::GET,
                "/api/v2.0/projects/library/",
                Some("getProject"),
            ),
            (Method::HEAD, "/api/v2.0//ping", Some("getPing")),
            (Method::POST, "/api/v2.0/ping", None),
        ] {
            let found = routes().find(&method, path);
            match (found, operation) {
                (Some(Found::Route(route, _)), Some(operation)) => {
                    assert_eq!(route.operation, operation);
                }
                (Some(Found::OtherMethods(allow)), None) => assert_eq!(allow, "GET"),
                _ => panic!("{method} {path}"),
            }
        }
        assert!(routes().find(&Method::GET, "/api/v2.0/nothing").is_none());
    }

    #[test]
    fn the_document_tells_every_row() {
        let document = openapi::document(routes());
        for route in routes().all() {
            let operation =
                &document["paths"][&route.path][route.method.as_str().to_ascii_lowercase()];
            assert_eq!(operation["operationId"], route.operation);
            assert!(
                operation["responses"]
                    .as_object()
                    .is_some_and(|all| all.len() > 1),
                "{}",
                route.path
            );
        }
    }
}
