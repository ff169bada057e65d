//! Harbor's REST API, one file a resource.

mod configurations;
mod conventions;
mod robots;
mod settings;
mod systeminfo;
