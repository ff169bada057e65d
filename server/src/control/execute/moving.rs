//! The move of the registry to another place, as a command follows it.

use model::{Error, Result};

use super::{House, Work};
use crate::{
    control::{answer::Progress, request::Password},
    moving::{Record, Status},
};

/// Begins, and waits for the end. A command that goes away ends nothing.
pub(super) async fn begin(house: &House, work: &Work, to: Password) -> Result<Status> {
    let to = Record::parse(&to.0).map_err(|error| Error::Precondition(format!("{error:#}")))?;
    let mut seen = house.mover.begin(to)?;
    loop {
        let status = seen.borrow_and_update().clone();
        match status.state.as_str() {
            "running" => work.show(Progress {
                text: status.doing,
                done: status.done,
                total: status.total,
            }),
            "failed" => {
                return Err(Error::Precondition(status.error.unwrap_or_default()));
            }
            _ => return Ok(status),
        }
        tokio::select! {
            changed = seen.changed() => changed.map_err(|_| {
                Error::Unavailable(anyhow::anyhow!("the move has ended with its process"))
            })?,
            () = work.cancel.cancelled() => return Ok(seen.borrow().clone()),
        }
    }
}
