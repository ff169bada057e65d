//! Harbor's REST API, one file a resource.

mod audit;
mod configurations;
mod conventions;
mod labels;
mod members;
mod permissions;
mod projects;
mod robots;
mod search;
mod settings;
mod systeminfo;
