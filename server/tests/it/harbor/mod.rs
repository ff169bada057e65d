//! Harbor's REST API, one file a resource.

mod artifacts;
mod audit;
mod configurations;
mod conventions;
mod copies;
mod labels;
mod login_brake;
mod members;
mod password_mail;
mod permissions;
mod projects;
mod repositories;
mod robots;
mod search;
mod sessions;
mod settings;
mod systeminfo;
mod tags;
mod trust;
mod user_permissions;
mod usergroups;
mod users;
