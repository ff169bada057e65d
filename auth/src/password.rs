//! Passwords as they are kept. New ones are argon2id in PHC notation; Harbor's are read as `harbor:<version>:<iterations>:<salt>:<hex>`
//! and replaced at the next login; secrets that we made ourselves need no slow hash, see robots.rs.

use std::num::NonZeroU32;

use argon2::{
    Algorithm, Argon2, Params,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use aws_lc_rs::pbkdf2;
use model::{Error, Result};

use crate::{random, robots};

/// Longer ones are wrong without being hashed.
pub const MAX_LEN: usize = 1024;

/// Iterations beyond this were never asked for by Harbor; they would only hold up a CPU.
const MAX_ITERATIONS: u32 = 10_000_000;

/// What a check of a password gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// Right, but kept in a weaker form than a new password would be.
    GoodButUpgrade,
    Wrong,
}

/// Hashes a password anew. Takes tens of milliseconds of a CPU and 19 MiB: servers do it through `Auth::hash_password`.
pub fn hash(password: &str) -> Result<String> {
    let salt: [u8; 16] = random::bytes()?;
    Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| Error::Internal(anyhow::anyhow!("hashing a password: {error}")))
}

/// Compares in constant time. A hash in no notation we know fits no password.
pub fn verify(hash: &str, password: &str) -> Verdict {
    if password.len() > MAX_LEN {
        return Verdict::Wrong;
    }
    if let Some(secret) = hash.strip_prefix(robots::NOTATION) {
        return verdict(robots::is_secret(secret, password), Verdict::Good);
    }
    if let Some(harbor) = hash.strip_prefix("harbor:") {
        return verdict(is_harbor(harbor, password), Verdict::GoodButUpgrade);
    }
    let Ok(parsed) = PasswordHash::new(hash) else {
        return Verdict::Wrong;
    };
    let good = Argon2::default()
        .verify_password(password.as_bytes(), &parsed)
        .is_ok();
    verdict(
        good,
        if is_current(&parsed) {
            Verdict::Good
        } else {
            Verdict::GoodButUpgrade
        },
    )
}

/// Whether a check costs so much that it must wait for its turn.
pub(crate) fn is_slow(hash: &str) -> bool {
    !hash.starts_with(robots::NOTATION)
}

fn verdict(good: bool, then: Verdict) -> Verdict {
    if good { then } else { Verdict::Wrong }
}

/// Made as we make them today, not with weaker parameters of an earlier day.
fn is_current(hash: &PasswordHash) -> bool {
    let Ok(params) = Params::try_from(hash) else {
        return false;
    };
    hash.algorithm == Algorithm::Argon2id.ident()
        && params.m_cost() >= Params::DEFAULT_M_COST
        && params.t_cost() >= Params::DEFAULT_T_COST
}

/// PBKDF2 over the salt's text as it stands, 16 bytes in lower-case hexadecimal. Versions: sha1 and sha256 with 4,096
/// iterations, pbkdf2_sha256 with 600,000; ours writes the digest and the iterations out.
fn is_harbor(notation: &str, password: &str) -> bool {
    let mut parts = notation.splitn(4, ':');
    let (Some(digest), Some(iterations), Some(salt), Some(hex)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let algorithm = match digest {
        "sha1" => pbkdf2::PBKDF2_HMAC_SHA1,
        "sha256" => pbkdf2::PBKDF2_HMAC_SHA256,
        _ => return false,
    };
    let iterations = iterations
        .parse()
        .ok()
        .filter(|&count: &NonZeroU32| count.get() <= MAX_ITERATIONS);
    let derived = hex::decode(hex)
        .ok()
        .filter(|derived| (16..=64).contains(&derived.len()));
    let (Some(iterations), Some(derived)) = (iterations, derived) else {
        return false;
    };
    pbkdf2::verify(
        algorithm,
        iterations,
        salt.as_bytes(),
        password.as_bytes(),
        &derived,
    )
    .is_ok()
}
