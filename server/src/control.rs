//! The socket on which commands reach a running server: `DATA/seawall.sock`, for its owner alone. (being written)

use std::path::PathBuf;

use anyhow::Result;
use auth::Auth;
use registry::Registry;
use tokio_util::sync::CancellationToken;

pub struct Control {
    _path: PathBuf,
}

impl Control {
    pub fn open(path: PathBuf, _registry: Registry, _auth: Auth) -> Result<Self> {
        Ok(Self { _path: path })
    }

    pub async fn serve(self, end: CancellationToken) {
        end.cancelled().await;
    }
}
