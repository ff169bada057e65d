//! The brake on guessing: of one address only so many passwords are checked at once, and a wrong one takes a while to be
//! answered, as with Harbor. So no address fills the queue for everybody, and nobody is locked out by a stranger who tries his name.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use model::{Error, Result};
use parking_lot::Mutex;

/// Checks of one address at once, a quarter of what may wait. Many people may share an address.
pub(crate) const MOST_AT_ONCE: usize = 16;
/// How long the answer to a wrong password takes (Harbor's time). The place is taken until then.
pub(crate) const BRAKE: Duration = Duration::from_millis(1500);

#[derive(Default)]
pub(crate) struct Attempts(Mutex<HashMap<IpAddr, usize>>);

/// A place of an address, given back when it is dropped.
pub(crate) struct Attempt<'a> {
    attempts: &'a Attempts,
    from: IpAddr,
}

impl Attempts {
    pub(crate) fn begin(&self, from: IpAddr) -> Result<Attempt<'_>> {
        let from = household(from);
        let mut running = self.0.lock();
        let count = running.entry(from).or_default();
        if *count >= MOST_AT_ONCE {
            return Err(Error::TooMany {
                retry_after: BRAKE.saturating_add(Duration::from_millis(500)),
            });
        }
        *count += 1;
        Ok(Attempt {
            attempts: self,
            from,
        })
    }
}

impl Attempt<'_> {
    /// Lets the time pass that a wrong password costs.
    pub(crate) async fn brake(self) {
        tokio::time::sleep(BRAKE).await;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut running = self.attempts.0.lock();
        if let Some(count) = running.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.from);
            }
        }
    }
}

/// On IPv6 one host has a whole /64 to choose from.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_its_places_and_leaves_the_others_theirs() {
        let attempts = Attempts::default();
        let [mine, mapped, other]: [IpAddr; 3] =
            ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let mut all: Vec<_> = (0..MOST_AT_ONCE)
            .map(|_| attempts.begin(mine).unwrap())
            .collect();
        assert!(matches!(attempts.begin(mapped), Err(Error::TooMany { .. })));
        attempts.begin(other).unwrap();
        all.pop();
        attempts.begin(mapped).unwrap();
        drop(all);
        assert!(attempts.0.lock().is_empty(), "nothing is kept of who left");
    }

    #[test]
    fn the_addresses_of_one_network_on_ipv6_count_as_one() {
        for (one, other, same) in [
            ("2001:db8::1", "2001:db8::ffff:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let [one, other]: [IpAddr; 2] = [one, other].map(|text| text.parse().unwrap());
            assert_eq!(household(one) == household(other), same, "{one} {other}");
        }
    }
}
