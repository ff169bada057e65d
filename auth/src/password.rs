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

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Good, GoodButUpgrade, Wrong};

    /// Made with Python's hashlib and cryptography.
    #[rustfmt::skip]
    const TABLE: &[(&str, Verdict)] = &[
        ("harbor:sha1:4096:k3yLm0Pq9sTuVwXyZaBcDeFgHiJkLmNo:f1a6b4677f735e61f41833c907f76f84", GoodButUpgrade),
        ("harbor:sha256:4096:k3yLm0Pq9sTuVwXyZaBcDeFgHiJkLmNo:aa7fa8c307cc65662d475f5121c919dd", GoodButUpgrade),
        ("harbor:sha256:600000:k3yLm0Pq9sTuVwXyZaBcDeFgHiJkLmNo:4840cb5a2b0d2953261da96318724488", GoodButUpgrade),
        ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdFNBTFRzYWx0MDEyMw$rthqGgrhKD+LVwgMCpsfROtCovbNGkkqpxClEK334A0", Good),
        ("$argon2id$v=19$m=4096,t=1,p=1$c2FsdFNBTFRzYWx0MDEyMw$vYPphFXLBo+Qr8syzQEhes5hoS3mn96N5ArpSxKoRiU", GoodButUpgrade),
    ];

    #[test]
    fn every_notation_tells_the_right_password_from_a_wrong_one() {
        for (hash, verdict) in TABLE {
            assert_eq!(verify(hash, "Harbor12345"), *verdict, "{hash}");
            assert_eq!(verify(hash, "Harbor12346"), Wrong, "{hash}");
            assert_eq!(verify(hash, ""), Wrong, "{hash}");
        }
    }

    #[test]
    fn what_no_login_can_match_is_wrong_and_costs_nothing() {
        for hash in [
            "",
            "Harbor12345",
            "harbor:",
            "harbor:md5:4096:salt:f1a6b4677f735e61f41833c907f76f84",
            "harbor:sha1:0:salt:f1a6b4677f735e61f41833c907f76f84",
            "harbor:sha1:4000000000:salt:f1a6b4677f735e61f41833c907f76f84",
            "harbor:sha1:4096:salt:",
            "harbor:sha1:4096:salt:f1",
            "harbor:sha1:4096:salt:not hexadecimal at all, is it?!",
            "$argon2id$v=19$m=19456",
            "secret-sha256:salt",
            "secret-sha256:salt:",
        ] {
            assert_eq!(verify(hash, "Harbor12345"), Wrong, "{hash}");
        }
    }

    #[test]
    fn a_password_of_more_than_a_kibibyte_is_wrong_also_where_it_was_set() {
        let long = "Aa1".repeat(400);
        assert_eq!(verify(&hash(&long).unwrap(), &long), Wrong);
    }

    #[test]
    fn a_new_hash_is_argon2id_with_its_own_salt() {
        let (one, other) = (hash("Harbor12345").unwrap(), hash("Harbor12345").unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, other);
        assert_eq!(verify(&one, "Harbor12345"), Good);
    }

    #[test]
    fn the_hash_of_nobody_costs_as_much_as_anybodys() {
        let nobody = PasswordHash::new(crate::basic::NOBODY).unwrap();
        assert!(is_current(&nobody));
        let anybody = hash("Harbor12345").unwrap();
        let anybody = PasswordHash::new(&anybody).unwrap();
        assert_eq!(nobody.params, anybody.params);
        assert_eq!(
            nobody.hash.map(|hash| hash.as_bytes().len()),
            anybody.hash.map(|hash| hash.as_bytes().len())
        );
    }
}
