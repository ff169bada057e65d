//! The forms that values take: durations, sizes, secrets, networks.

use std::{fmt, net::IpAddr, ops::RangeInclusive, str::FromStr, time::Duration};

use ipnet::IpNet;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// The name under which `decode.rs` knows a secret; it is the name of the struct below.
pub(super) const SECRET: &str = "Secret";

/// A text that no log, no error and no debug output shows.
#[derive(Clone, Deserialize, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[cfg(test)]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

const DURATION_FORM: &str = "a duration such as `90s`, `10m`, `24h`, `7d` or `0`";

const PERIOD_FORM: &str = "a duration of a second or more, such as `90s`, `10m`, `24h` or `7d`";
const LEAST_PERIOD: Duration = Duration::from_secs(1);

const SIZE_FORM: &str = "a size such as `64KiB`, `10MB`, `1GiB` or a number of bytes";

/// Reads `90s`, `10m`, `24h`, `7d`, `500ms`, `1h30m`, `0`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    loop {
        let (number, after) = leading_number(rest)?;
        let unit_len = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs);
        let part = match unit {
            "ms" => Some(Duration::from_millis(number)),
            "s" => seconds(1),
            "m" => seconds(60),
            "h" => seconds(60 * 60),
            "d" => seconds(24 * 60 * 60),
            _ => None,
        }?;
        total = total.checked_add(part)?;
        // A century: what is longer is a slip of the pen, and would overflow where it is added to a time.
        if total > Duration::from_hours(100 * 366 * 24) {
            return None;
        }
        if after.is_empty() {
            return Some(total);
        }
        rest = after;
    }
}

/// Reads `64KiB`, `10MB`, `1GiB`, `512`, `512B`; capitals do not matter.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = leading_number(text)?;
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000_u64.pow(2),
        "gb" => 1000_u64.pow(3),
        "tb" => 1000_u64.pow(4),
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    // Sizes end up in signed columns and offsets.
    number
        .checked_mul(factor)
        .filter(|&size| i64::try_from(size).is_ok())
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

/// For `#[serde(deserialize_with = "…")]` on a `Duration` that may be none.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Time {
        form: DURATION_FORM,
        least: Duration::ZERO,
    })
}

/// The same where no time at all would break what it bounds: whoever writes `0` there means "no limit", which there is not.
pub fn period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Time {
        form: PERIOD_FORM,
        least: LEAST_PERIOD,
    })
}

/// As `period`, on a time that may be left open.
pub(super) fn optional_period<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    struct Period(Duration);
    impl<'de> Deserialize<'de> for Period {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            period(deserializer).map(Self)
        }
    }
    Ok(Option::<Period>::deserialize(deserializer)?.map(|Period(time)| time))
}

struct Time {
    form: &'static str,
    least: Duration,
}

impl Visitor<'_> for Time {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.form)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse_duration(text)
            .filter(|time| *time >= self.least)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Duration, E> {
        if number == 0 && self.least.is_zero() {
            Ok(Duration::ZERO)
        } else {
            Err(E::invalid_value(de::Unexpected::Signed(number), &self))
        }
    }
}

/// For `#[serde(deserialize_with = "…")]` on a size in bytes.
pub fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Size {
        form: SIZE_FORM,
        range: 0..=u64::MAX,
    })
}

/// The same for the head of a request: what every client sends must fit, and the field of HTTP/2 has 32 bits.
pub(super) fn head_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let bytes = deserializer.deserialize_any(Size {
        form: "a size from `8KiB` to `1MiB`",
        range: 8 << 10..=1 << 20,
    })?;
    Ok(bytes as usize)
}

struct Size {
    form: &'static str,
    range: RangeInclusive<u64>,
}

impl Visitor<'_> for Size {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.form)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse_size(text)
            .filter(|size| self.range.contains(size))
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number)
            .ok()
            .filter(|size| self.range.contains(size))
            .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
    }
}

/// For `#[serde(deserialize_with = "…")]` on a size that may be left open.
pub(super) fn optional_size<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    struct Bytes(u64);
    impl<'de> Deserialize<'de> for Bytes {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            size(deserializer).map(Self)
        }
    }
    Ok(Option::<Bytes>::deserialize(deserializer)?.map(|Bytes(bytes)| bytes))
}

/// For a part of an upload to an object store: two of them are held in memory by each upload.
pub(super) fn part_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Size {
        form: "a size from `5MiB` to `256MiB`",
        range: 5 << 20..=256 << 20,
    })
}

/// For a number that must not be zero.
pub(super) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    struct Form;
    impl Visitor<'_> for Form {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number, one or more")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<usize, E> {
            let found = de::Unexpected::Signed(number);
            usize::try_from(number)
                .ok()
                .filter(|&n| n > 0)
                .ok_or_else(|| E::invalid_value(found, &self))
        }
    }
    deserializer.deserialize_u64(Form)
}

/// Networks as `10.0.0.0/8` or single addresses.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    struct Network(IpNet);
    impl<'de> Deserialize<'de> for Network {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let form = "a network such as `10.0.0.0/8`, or an address";
            let text = String::deserialize(deserializer)?;
            IpNet::from_str(&text)
                .or_else(|_| IpAddr::from_str(&text).map(IpNet::from))
                .map(Self)
                .map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &form))
        }
    }
    let networks = Vec::<Network>::deserialize(deserializer)?;
    Ok(networks
        .into_iter()
        .map(|Network(network)| network)
        .collect())
}
