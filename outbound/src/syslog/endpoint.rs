//! Whether a collector can be reached, asked before its address becomes a setting.

use std::{io, time::Duration};

use super::{Address, Sender};
use crate::Trust;

/// For looking its name up, connecting, and the handshake.
const PATIENCE: Duration = Duration::from_secs(8);

/// Why an endpoint is not taken, in words for whoever set it.
#[derive(Debug, thiserror::Error)]
pub enum EndpointFault {
    #[error(
        "`{0}` is no endpoint: give `HOST:PORT`, or with `udp://`, `tcp://` or `tls://` before it"
    )]
    Form(String),
    #[error("could not connect to the audit endpoint `{endpoint}`: {why}")]
    Unreachable { endpoint: String, why: io::Error },
}

/// Connects to an endpoint and hangs up again. Over UDP nobody answers: there only its name must be known.
pub async fn check_endpoint(text: &str, trust: &Trust) -> Result<(), EndpointFault> {
    let Some(address) = Address::of_endpoint(text) else {
        return Err(EndpointFault::Form(text.to_owned()));
    };
    let mut sender = Sender::new(address, trust.clone());
    let connecting = tokio::task::spawn_blocking(move || sender.connect());
    let connected = match tokio::time::timeout(PATIENCE, connecting).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(panicked)) => Err(io::Error::other(panicked)),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    connected.map_err(|why| EndpointFault::Unreachable {
        endpoint: text.to_owned(),
        why,
    })
}
