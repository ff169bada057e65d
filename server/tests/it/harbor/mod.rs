//! Harbor's REST API, one file a resource.

mod configurations;
mod conventions;
mod members;
mod permissions;
mod projects;
mod robots;
mod search;
mod settings;
mod systeminfo;
