//! The brake on guessing. Wrong passwords are counted in the database, so that all nodes know of them: by account, by address, and by
//! place, which is one account at one address. Each count allows a few, then asks for longer and longer waits, and forgives with
//! time. Whoever signed in from a place lately is held to its own count alone: a stranger who knows a name, however many addresses
//! he has, cannot keep its owner out, nor can a neighbour behind the same address who guesses at another name.
//!
//! Beside that, of one address only so many passwords are checked at once on a node, and a wrong one takes a while to be answered,
//! as with Harbor. Robots' secrets that we made are not guessed, and not counted.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use aws_lc_rs::digest;
use db::{
    Db, Tx,
    login_failures::{self, Failures},
};
use model::{Error, Result, id::UserId, time::Timestamp};
use parking_lot::Mutex;

/// Checks of one address at once, a quarter of what may wait. Many people may share an address.
pub(crate) const MOST_AT_ONCE: usize = 16;
/// How long the answer to a wrong password takes (Harbor's time). The place is taken until then.
pub(crate) const BRAKE: Duration = Duration::from_millis(1500);
/// How long a place stays known where somebody signed in.
pub const KNOWN_FOR: Duration = Duration::from_hours(30 * 24);
/// A right password is written down again after this.
const TOLD_EVERY: Duration = Duration::from_hours(1);
/// After this nothing is left of a count.
pub const FORGOTTEN: Duration = Duration::from_hours(24);

/// What a count allows.
struct Bound {
    /// So many cost nothing; from then on each doubles the wait.
    free: i64,
    longest: Duration,
    /// One is forgiven so often. In the long run nobody may try more often than this.
    forgiven: Duration,
}

const PLACE: Bound = Bound {
    free: 5,
    longest: Duration::from_secs(30),
    forgiven: Duration::from_mins(1),
};
const ACCOUNT: Bound = Bound {
    free: 10,
    longest: Duration::from_mins(1),
    forgiven: Duration::from_mins(1),
};
const ADDRESS: Bound = Bound {
    free: 30,
    longest: Duration::from_secs(10),
    forgiven: Duration::from_secs(10),
};
/// What somebody without a name may ask for that costs us something, by address.
const ASKING: Bound = Bound {
    free: 10,
    longest: Duration::from_mins(1),
    forgiven: Duration::from_mins(1),
};

/// Letters to one person that strangers ask for.
const LETTERS: Bound = Bound {
    free: 3,
    longest: Duration::from_mins(10),
    forgiven: Duration::from_mins(10),
};

impl Bound {
    /// How long whoever has this count must still wait; none when it is within what is free.
    fn wait(&self, failures: Option<&Failures>, now: Timestamp) -> Option<Duration> {
        let failures = failures?;
        // A last one that is still to come was written before a clock was set back.
        let passed = now.since(failures.last_at.min(now));
        let forgiven = passed.as_micros() / self.forgiven.as_micros();
        let left = failures.count - i64::try_from(forgiven).unwrap_or(i64::MAX);
        let over = u32::try_from(left - self.free).ok()?;
        let wait = Duration::from_secs(1 << over.min(16)).min(self.longest);
        Some(wait.saturating_sub(passed))
    }
}

/// What is being tried on this node at this moment, by name of its count.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<HashMap<String, usize>>);

/// A check that may go on. Its places are given back when it is dropped.
pub(crate) struct Attempt<'a> {
    attempts: &'a Attempts,
    taken: Vec<String>,
    place: String,
    /// Counts that a wrong password adds to.
    counts: Vec<(String, Duration)>,
    /// Whether the database knows already that this account signs in here.
    is_told: bool,
}

impl Attempts {
    /// Lets a check of this account's password go on, or says how long to wait.
    pub(crate) async fn begin(
        &self,
        db: &Db,
        account: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Attempt<'_>> {
        let from = household(from);
        let place = format!("place:{account}@{from}");
        let names = [format!("account:{account}"), format!("address:{from}")];
        let kept =
            login_failures::list(&mut *db.reader().await?, &[&place, &names[0], &names[1]]).await?;
        let find = |name: &str| kept.iter().find(|failures| failures.name == name);
        let here = find(&place);
        let succeeded_at = here.and_then(|here| here.succeeded_at);
        let since = |time: Timestamp| now.since(time.min(now));
        let is_known = succeeded_at.is_some_and(|at| since(at) < KNOWN_FOR);
        let mut bounds = vec![(place.clone(), PLACE)];
        if !is_known {
            let [account, address] = names.clone();
            bounds.extend([(account, ACCOUNT), (address, ADDRESS)]);
        }
        let mut attempt = Attempt {
            attempts: self,
            taken: Vec::new(),
            is_told: here.is_some_and(|here| here.count == 0)
                && succeeded_at.is_some_and(|at| since(at) < TOLD_EVERY),
            counts: Vec::new(),
            place,
        };
        attempt.take(&names[1], MOST_AT_ONCE)?;
        for (name, bound) in bounds {
            if let Some(wait) = bound.wait(find(&name), now) {
                if !wait.is_zero() {
                    return Err(too_many(wait));
                }
                // Nothing is counted before it was found wrong: many at once would be as one.
                attempt.take(&format!("one:{name}"), 1)?;
            }
            attempt.counts.push((name, bound.forgiven));
        }
        Ok(attempt)
    }
}

impl Attempt<'_> {
    fn take(&mut self, name: &str, most: usize) -> Result<()> {
        let mut running = self.attempts.0.lock();
        let count = running.entry(name.to_owned()).or_default();
        if *count >= most {
            return Err(too_many(BRAKE));
        }
        *count += 1;
        self.taken.push(name.to_owned());
        Ok(())
    }

    /// Counts a wrong password, and lets the time pass that it costs.
    pub(crate) async fn failed(self, db: &Db, now: Timestamp) {
        let counts = self.counts.clone();
        let written = db.write(move |tx| {
            let counts = counts.clone();
            Box::pin(async move {
                for (name, forgiven) in &counts {
                    login_failures::add(tx, name, *forgiven, now).await?;
                }
                Ok(())
            })
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, "a wrong password could not be counted");
        }
        tokio::time::sleep(BRAKE).await;
    }

    /// Writes down that this account signs in here. A database that cannot be written just now is no reason to refuse it.
    pub(crate) async fn succeeded(self, db: &Db, now: Timestamp) {
        if self.is_told {
            return;
        }
        let place = self.place.clone();
        let written = db.write(move |tx| {
            let place = place.clone();
            Box::pin(async move { login_failures::clear(tx, &place, now).await })
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, "a sign-in could not be written down");
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut running = self.attempts.0.lock();
        for name in &self.taken {
            if let Some(count) = running.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    running.remove(name);
                }
            }
        }
    }
}

/// Counts that somebody asks for something without having to say who he is, or says how long to wait.
pub async fn ask(tx: &mut Tx, what: &str, from: Option<IpAddr>, now: Timestamp) -> Result<()> {
    let Some(from) = from else {
        return Ok(());
    };
    let name = format!("{what}:{}", household(from));
    match count(tx, &name, &ASKING, now).await? {
        Some(wait) => Err(too_many(wait)),
        None => Ok(()),
    }
}

/// Counts that a letter to this person is asked for. False when there were enough; whoever asked must not be told.
pub async fn may_write_to(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<bool> {
    let name = format!("letter:{user}");
    Ok(count(tx, &name, &LETTERS, now).await?.is_none())
}

/// Adds one, or answers how long to wait.
async fn count(tx: &mut Tx, name: &str, bound: &Bound, now: Timestamp) -> Result<Option<Duration>> {
    let kept = login_failures::hold(tx, name).await?;
    if let Some(wait) = bound.wait(Some(&kept), now)
        && !wait.is_zero()
    {
        return Ok(Some(wait));
    }
    login_failures::add(tx, name, bound.forgiven, now).await?;
    Ok(None)
}

/// What stands for a name that nobody has: people type passwords there too.
pub(crate) fn nobody(name: &str) -> String {
    let digest = digest::digest(&digest::SHA256, name.as_bytes());
    format!("nobody:{}", hex::encode(&digest.as_ref()[..16]))
}

fn too_many(wait: Duration) -> Error {
    Error::TooMany {
        retry_after: Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
    }
}

/// On IPv6 one host has a whole /64 to choose from.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_waits_longer_and_longer_and_forgives() {
        let now = Timestamp(1_000_000_000_000);
        let failures = |count| Failures {
            name: String::new(),
            count,
            last_at: now,
            succeeded_at: None,
        };
        let wait = |count, after| {
            let wait = PLACE.wait(Some(&failures(count)), now.plus(Duration::from_secs(after)));
            wait.map(|wait| wait.as_secs())
        };
        assert_eq!(PLACE.wait(None, now), None);
        for (count, after, expected) in [
            (4, 0, None),
            (5, 0, Some(1)),
            (6, 0, Some(2)),
            (9, 0, Some(16)),
            (10, 0, Some(30)),
            (1_000_000, 0, Some(30)),
            (10, 10, Some(20)),
            (10, 30, Some(0)),
            (6, 60, Some(0)),
            (6, 120, None),
        ] {
            assert_eq!(wait(count, after), expected, "{count} after {after} s");
        }
        let earlier = now.minus(Duration::from_hours(1));
        assert_eq!(
            PLACE.wait(Some(&failures(7)), earlier),
            Some(Duration::from_secs(4)),
            "a clock that was set back keeps nobody out for longer"
        );
    }

    #[test]
    fn the_addresses_of_one_network_on_ipv6_count_as_one() {
        for (one, other, same) in [
            ("2001:db8::1", "2001:db8::ffff:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
        ] {
            let [one, other]: [IpAddr; 2] = [one, other].map(|text| text.parse().unwrap());
            assert_eq!(household(one) == household(other), same, "{one} {other}");
        }
    }
}
