//! Randomness for keys, salts and secrets, from the operating system's generator.

use model::{Result, error::internal};

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(internal("the system gives no random bytes"))?;
    Ok(bytes)
}

/// `length` letters and digits, each of the 62 equally likely.
pub(crate) fn text(length: usize) -> Result<String> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        // Of 256 values the last 8 are thrown away, since they would make the first 8 letters likelier.
        let fair = bytes::<64>()?
            .into_iter()
            .map(usize::from)
            .filter(|&byte| byte < ALPHABET.len() * 4);
        text.extend(
            fair.take(length - text.len())
                .map(|byte| char::from(ALPHABET[byte % ALPHABET.len()])),
        );
    }
    Ok(text)
}
