//! Harbor's REST API, one file a resource.

mod conventions;
mod robots;
