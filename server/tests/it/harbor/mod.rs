//! Harbor's REST API, one file a resource.

mod audit;
mod configurations;
mod conventions;
mod labels;
mod login_brake;
mod members;
mod password_mail;
mod permissions;
mod projects;
mod robots;
mod search;
mod sessions;
mod settings;
mod systeminfo;
mod user_permissions;
mod usergroups;
mod users;
