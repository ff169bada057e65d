//! Projects whose content must be signed before it is pulled. Only that there is a signature is asked, not what it is worth.

use auth::Via;
use db::artifacts::details;
use http::header;
use model::{Error, Result, id::ArtifactId};

use super::guard::Granted;
use crate::request::Ask;

const NOTATION: i64 = 1;
const COSIGN: i64 = 2;

/// Refuses what is not signed as its project wants it. Signatures themselves may be pulled, by scanners everything, and by whoever
/// is about to sign.
pub(super) async fn check(ask: &Ask, granted: &Granted, artifact: ArtifactId) -> Result<()> {
    if granted.trust == 0 || granted.is_scanner || is_signing(ask, granted) {
        return Ok(());
    }
    let conn = &mut *ask.app.registry.db().reader().await?;
    let signed = details::signed(conn, artifact).await?;
    if signed.is_signature {
        return Ok(());
    }
    for (bit, is_there, by) in [
        (COSIGN, signed.by_cosign, "cosign"),
        (NOTATION, signed.by_notation, "notation"),
    ] {
        if granted.trust & bit != 0 && !is_there {
            return Err(Error::PolicyViolation(format!(
                "The image is not signed by {by}."
            )));
        }
    }
    Ok(())
}

/// cosign and notation read what they sign before they push the signature.
fn is_signing(ask: &Ask, granted: &Granted) -> bool {
    let agent = ask.header(header::USER_AGENT).unwrap_or_default();
    let signs = agent.contains("cosign") || agent.contains("notation");
    signs && granted.may_push && granted.caller.via == Via::Bearer
}
