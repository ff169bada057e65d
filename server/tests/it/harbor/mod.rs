//! Harbor's REST API, one file a resource.

mod artifact_labels;
mod artifacts;
mod audit;
mod configurations;
mod conventions;
mod copies;
mod immutable_rules;
mod labels;
mod login_brake;
mod members;
mod password_mail;
mod permissions;
mod projects;
mod quotas;
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
