//! Time as a value. `Timestamp` counts microseconds since 1970 UTC, as the database stores it;
//! `Clock` is the only reader of the machine's clock; `Hlc` orders changes across nodes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// The time from `earlier` to this; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// Whole seconds since 1970, as tokens count time.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Reads `2026-01-02`, `2026-01-02T03:04:05`, `2026-01-02 03:04:05.678Z`: always UTC, to the microsecond.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('Z').unwrap_or(text);
        let (date, time) = text.split_at_checked(10)?;
        let [year, month, day] = parts(date, '-', [4, 2, 2])?;
        let mut days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) {
            days[1] = 29;
        }
        let most = usize::try_from(month - 1)
            .ok()
            .and_then(|month| days.get(month))?;
        if !(1..=*most).contains(&day) {
            return None;
        }
        let mut micros = days_from_civil(year, month, day) * 86_400_000_000;
        if time.is_empty() {
            return Some(Self(micros));
        }
        let (clock, fraction) = time.strip_prefix(['T', ' '])?.split_at_checked(8)?;
        let [hour, minute, second] = parts(clock, ':', [2, 2, 2])?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        micros += (hour * 3600 + minute * 60 + second) * 1_000_000;
        if !fraction.is_empty() {
            let digits = fraction.strip_prefix('.').filter(|digits| {
                (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
            })?;
            let digits = format!("{digits:0<6}");
            micros += digits[..6].parse::<i64>().ok()?;
        }
        Some(Self(micros))
    }

    /// RFC 3339 in UTC with milliseconds, as Harbor's API renders times: `2026-01-02T03:04:05.678Z`.
    pub fn rfc3339(self) -> String {
        let (year, month, day) = civil(self.seconds().div_euclid(86_400));
        let second = self.seconds().rem_euclid(86_400);
        let milli = self.0.rem_euclid(1_000_000) / 1_000;
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{milli:03}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Three numbers of so many digits each, with a separator between them.
fn parts(text: &str, separator: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// The other way of `civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// Year, month and day of a count of days since 1970 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (
        yoe + era * 400 + i64::from(month <= 2),
        month,
        doy - (153 * mp + 2) / 5 + 1,
    )
}

/// Reads the machine's clock. Tests shift it; nothing else does.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    shift: Arc<AtomicI64>,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    pub fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(micros(since).saturating_add(self.shift()))
    }

    /// Moves this clock (and all its clones) forward; for tests of leases, grace and expiry.
    pub fn advance(&self, by: Duration) {
        self.shift.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// As a clock that was found to be ahead; for tests.
    pub fn set_back(&self, by: Duration) {
        self.shift.fetch_sub(micros(by), Ordering::SeqCst);
    }

    /// How far tests have moved this clock, in microseconds.
    pub fn shift(&self) -> i64 {
        self.shift.load(Ordering::SeqCst)
    }
}

/// A hybrid logical clock: never less than the wall clock, always greater than what it gave or saw before.
/// One number of microseconds, so that it sorts beside times and fits a BIGINT.
#[derive(Debug, Default)]
pub struct Hlc {
    last: AtomicI64,
}

impl Hlc {
    /// The next reading. It is greater than every reading given or witnessed so far, also when `now` went backwards.
    pub fn next(&self, now: Timestamp) -> i64 {
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let next = now.0.max(last + 1);
            match self
                .last
                .compare_exchange_weak(last, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return next,
                Err(seen) => last = seen,
            }
        }
    }

    /// Learns a reading made elsewhere (another node, or this database before a restart).
    pub fn witness(&self, seen: i64) {
        self.last.fetch_max(seen, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_rfc3339_with_milliseconds() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_767_323_045_678_900, "2026-01-02T03:04:05.678Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(micros).rfc3339(), text);
        }
    }

    #[test]
    fn reads_times_as_people_and_clients_write_them() {
        for (text, rendered) in [
            ("2026-01-02T03:04:05", "2026-01-02T03:04:05.000Z"),
            ("2026-01-02 03:04:05.678Z", "2026-01-02T03:04:05.678Z"),
            ("2000-02-29", "2000-02-29T00:00:00.000Z"),
            ("1969-12-31T23:59:59.999999999", "1969-12-31T23:59:59.999Z"),
            ("0000-03-01", "0000-03-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59", "9999-12-31T23:59:59.000Z"),
        ] {
            let time = Timestamp::parse(text).expect(text);
            assert_eq!(time.rfc3339(), rendered);
        }
        for text in [
            "",
            "2026",
            "2026-1-2",
            "2026-13-01",
            "2026-00-01",
            "2026-02-29",
            "1900-02-29",
            "2026-01-32",
            "2026-01-02T24:00:00",
            "2026-01-02T03:04",
            "2026-01-02T03:04:60",
            "2026-01-02T03:04:05.",
            "2026-01-02T03:04:05+01:00",
            "+026-01-02",
            "2026-01-0ü",
            "ü026-01-02",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn hlc_moves_on_when_the_wall_clock_goes_back() {
        let hlc = Hlc::default();
        let first = hlc.next(Timestamp(1_000));
        assert_eq!(hlc.next(Timestamp(500)), first + 1);
        hlc.witness(5_000);
        assert_eq!(hlc.next(Timestamp(1_001)), 5_001);
        assert_eq!(hlc.next(Timestamp(9_000)), 9_000);
    }
}
