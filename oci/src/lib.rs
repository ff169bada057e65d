//! The words of the OCI distribution specification: digests, names, media types, manifests, ranges, routes,
//! token scopes and error codes. Strings become these types at the door and stay so inside.
//!
//! Nothing here does I/O, waits, or knows an HTTP library: every function is pure and tested in tables,
//! by properties (`tests/properties.rs`) and by fuzzing (`fuzz/` at the root, same checks).

pub mod descriptor;
pub mod digest;
pub mod error;
pub mod manifest;
pub mod media_type;
pub mod name;
pub mod query;
pub mod range;
pub mod reference;
pub mod route;
pub mod scope;

pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError};
pub use error::ErrorCode;
pub use manifest::{Manifest, ManifestError};
pub use name::{NameError, NameRef, RepoName, Tag, TagError, TagRef};
pub use reference::{Reference, ReferenceError, ReferenceRef};
pub use route::{Route, RouteError};
pub use scope::Scope;
