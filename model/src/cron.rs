//! When something is to happen, as Harbor's clients write it: a cron expression of six fields, of which the first (seconds) is 0,
//! in UTC. `0 30 2 * * *` is half past two each night.

use std::fmt;

use croner::parser::{CronParser, Seconds, Year};
use jiff::{Timestamp as Instant, Zoned, tz::TimeZone};

use crate::{Error, Result, What, time::Timestamp};

/// The longest expression.
const LONGEST: usize = 200;

/// An expression that was understood, and comes true sooner or later.
#[derive(Debug, Clone)]
pub struct Cron {
    text: String,
    parsed: croner::Cron,
}

impl Cron {
    /// Understands an expression; the texts of refusals are Harbor's where it has one.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Error::invalid(
                What::Schedule,
                format!("invalid cron string `{}`: {why}", shown(text)),
            )
        };
        if text.len() > LONGEST {
            return Err(invalid("it is too long"));
        }
        if text.trim_start().starts_with('@') {
            return Err(invalid(
                "write six fields: second minute hour day month weekday",
            ));
        }
        let fields = text.split_whitespace().count();
        if fields != 6 {
            return Err(invalid(&format!(
                "expected exactly 6 fields, found {fields}: second minute hour day month weekday"
            )));
        }
        if text.split_whitespace().next() != Some("0") {
            return Err(invalid(
                "the 1st field (indicating Seconds of time) of the cron setting must be 0",
            ));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Disallowed)
            .build();
        let parsed = parser
            .parse(text)
            .map_err(|error| invalid(&error.to_string()))?;
        let cron = Self {
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            parsed,
        };
        // A leap year is never further off than this.
        if cron.next_after(Timestamp(0)).is_none() {
            return Err(invalid("there is no such day"));
        }
        Ok(cron)
    }

    /// The first time after `moment`; none when that is too far off to be meant.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let moment = Instant::from_microsecond(moment.0).ok()?;
        let moment = Zoned::new(moment, TimeZone::UTC);
        let next = self.parsed.find_next_occurrence(&moment, false).ok()?;
        Some(Timestamp(next.timestamp().as_microsecond()))
    }

    /// With one blank between fields.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, after: &str) -> String {
        let after = Timestamp::parse(after).expect("a time");
        let next = Cron::parse(text).expect("a cron").next_after(after);
        next.expect("comes").rfc3339()
    }

    #[test]
    fn the_next_time_is_in_utc_and_later() {
        for (text, after, expected) in [
            (
                "0 0 0 * * *",
                "2026-11-29T00:00:00Z",
                "2026-11-30T00:00:00.000Z",
            ),
            (
                "0 0 * * * *",
                "2026-11-29T22:59:59.5Z",
                "2026-11-29T23:00:00.000Z",
            ),
            (
                "0 0 0 * * 0",
                "2026-11-29T12:00:00Z",
                "2026-12-06T00:00:00.000Z",
            ),
            (
                "0 0 0 * * SUN",
                "2026-11-29T12:00:00Z",
                "2026-12-06T00:00:00.000Z",
            ),
            (
                "0 */15 2-3 ? * MON-FRI",
                "2026-11-29T12:00:00Z",
                "2026-11-30T02:00:00.000Z",
            ),
            (
                "0 30 1 29 2 *",
                "2026-11-29T12:00:00Z",
                "2028-02-29T01:30:00.000Z",
            ),
            // As cron has it: one of the two days is enough when both are named.
            (
                "0 0 0 1 * MON",
                "2026-11-28T12:00:00Z",
                "2026-11-30T00:00:00.000Z",
            ),
        ] {
            assert_eq!(next(text, after), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_cron_or_never_comes_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "6 fields"),
            ("0 0 * * *", "6 fields"),
            ("0 0 0 * * * 2027", "6 fields"),
            ("1 0 0 * * *", "must be 0"),
            ("* 0 0 * * *", "must be 0"),
            ("@daily", "six fields"),
            ("0 61 * * * *", "invalid cron string"),
            ("0 0 0 31 2 *", "invalid cron string"),
            ("0 x 0 * * *", "invalid cron string"),
        ] {
            match Cron::parse(text) {
                Err(Error::Invalid(What::Schedule, told)) => {
                    assert!(told.contains(why), "{text}: {told}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
