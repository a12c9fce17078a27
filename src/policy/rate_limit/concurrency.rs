//! How many connections a user, or an address, may have at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::key::Key;
use crate::config::RateLimit;

/// The WebSocket connections that stand, by the policies that count them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seats(Arc<Mutex<HashMap<Counted, usize>>>);

/// What is counted: a policy's user, or a policy's address. Nothing is kept of those without a connection.
type Counted = (Arc<str>, Key);

/// One connection's seat; dropping it gives the seat back.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    seats: Seats,
    policy: Arc<str>,
    per_user: Option<usize>,
    user: Option<Key>,
    address: Option<Key>,
}

/// Which cap a connection would be over. The newest is refused, those that stand stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooManyConnections {
    /// `connections_per_user`.
    User,
    /// `connections_per_ip`.
    Address,
}

impl TooManyConnections {
    /// The word in `refused_total{reason}`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            TooManyConnections::User => "connections_per_user",
            TooManyConnections::Address => "connections_per_ip",
        }
    }
}

impl Seats {
    /// Takes a seat in both counts at once, or in none. A user or an address that is not known is not counted.
    ///
    /// # Errors
    /// The cap that is reached.
    pub(crate) fn take(
        &self,
        policy: &RateLimit,
        user: Option<&[u8; 32]>,
        address: Option<IpAddr>,
    ) -> Result<ConnectionPermit, TooManyConnections> {
        let mut seat = ConnectionPermit {
            seats: self.clone(),
            policy: policy.name.as_str().into(),
            per_user: policy.connections_per_user,
            user: None,
            address: None,
        };
        let mut counts = self.lock();
        let address = policy.connections_per_ip.zip(address.map(Key::address));
        let user = policy.connections_per_user.zip(user.map(Key::user));
        let is_full = |of: &Option<(usize, Key)>| {
            of.is_some_and(|(most, key)| {
                let counted = (seat.policy.clone(), key);
                counts.get(&counted).copied().unwrap_or(0) >= most
            })
        };
        let crowded = match (is_full(&address), is_full(&user)) {
            (true, _) => Some(TooManyConnections::Address),
            (_, true) => Some(TooManyConnections::User),
            _ => None,
        };
        if let Some(crowded) = crowded {
            return Err(crowded);
        }
        seat.address = address.map(|(_, key)| key);
        seat.user = user.map(|(_, key)| key);
        for key in [seat.address, seat.user].into_iter().flatten() {
            *counts.entry((seat.policy.clone(), key)).or_default() += 1;
        }
        Ok(seat)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Counted, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// Counts the connection for a user that became known only after it was established. A seat stays counted for its first
    /// user.
    ///
    /// # Errors
    /// [`TooManyConnections::User`]; the seat itself stays.
    pub(crate) fn count_for(&mut self, user: &[u8; 32]) -> Result<(), TooManyConnections> {
        let (Some(most), None) = (self.per_user, self.user) else {
            return Ok(());
        };
        let user = Key::user(user);
        let mut counts = self.seats.lock();
        let count = counts.entry((self.policy.clone(), user)).or_default();
        // Nothing is entered in vain: a cap is one at least.
        if *count >= most {
            return Err(TooManyConnections::User);
        }
        *count += 1;
        self.user = Some(user);
        Ok(())
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if self.user.is_none() && self.address.is_none() {
            return;
        }
        let mut counts = self.seats.lock();
        for key in [self.user, self.address].into_iter().flatten() {
            let counted = (self.policy.clone(), key);
            if let Some(count) = counts.get_mut(&counted) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    counts.remove(&counted);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    const ALICE: [u8; 32] = [1; 32];
    const BOB: [u8; 32] = [2; 32];

    fn policy(name: &str, per_user: Option<usize>, per_ip: Option<usize>) -> RateLimit {
        RateLimit {
            name: name.into(),
            connections_per_user: per_user,
            connections_per_ip: per_ip,
            ..RateLimit::default()
        }
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_sixth_connection_of_a_user_is_refused_until_one_leaves() {
        let seats = Seats::default();
        let policy = policy("default", Some(5), None);
        let take = |user| seats.take(&policy, Some(user), ip("192.0.2.1"));
        let mut five: Vec<ConnectionPermit> = (0..5).map(|_| take(&ALICE).unwrap()).collect();
        assert_eq!(take(&ALICE).unwrap_err(), TooManyConnections::User);
        let bob = take(&BOB).unwrap();
        five.pop();
        five.push(take(&ALICE).unwrap());
        drop((five, bob));
        assert!(seats.lock().is_empty());
    }

    #[test]
    fn address_is_a_whole_block_and_policies_count_apart() {
        let seats = Seats::default();
        let one = policy("one", None, Some(1));
        let other = policy("other", None, Some(1));
        let first = seats.take(&one, None, ip("2001:db8::1")).unwrap();
        let same = seats.take(&one, None, ip("2001:db8::2"));
        assert_eq!(same.unwrap_err(), TooManyConnections::Address);
        let second = seats.take(&other, None, ip("2001:db8::2")).unwrap();
        drop((first, second));
        assert!(seats.lock().is_empty());
    }

    #[test]
    fn a_client_refused_by_one_count_takes_none_of_the_other() {
        let seats = Seats::default();
        let policy = policy("default", Some(1), Some(2));
        let first = seats.take(&policy, Some(&ALICE), ip("192.0.2.1")).unwrap();
        for _ in 0..5 {
            let again = seats.take(&policy, Some(&ALICE), ip("192.0.2.1"));
            assert_eq!(again.unwrap_err(), TooManyConnections::User);
        }
        let bob = seats.take(&policy, Some(&BOB), ip("192.0.2.1")).unwrap();
        drop((first, bob));
        assert!(seats.lock().is_empty());
    }

    #[test]
    fn a_user_known_by_a_later_hello_counts_from_then_on() {
        let seats = Seats::default();
        let policy = policy("default", Some(1), None);
        let mut first = seats.take(&policy, None, None).unwrap();
        let mut second = seats.take(&policy, None, None).unwrap();
        first.count_for(&ALICE).unwrap();
        // New credentials of the same user.
        first.count_for(&ALICE).unwrap();
        assert_eq!(
            second.count_for(&ALICE).unwrap_err(),
            TooManyConnections::User
        );
        drop(first);
        second.count_for(&ALICE).unwrap();
        drop(second);
        assert!(seats.lock().is_empty());
    }

    #[test]
    fn of_many_racing_for_the_last_places_as_many_get_one() {
        const PLACES: usize = 5;
        let seats = Seats::default();
        let policy = policy("default", Some(PLACES), Some(PLACES + 1));
        for _ in 0..50 {
            let start = Barrier::new(8);
            let won: Vec<ConnectionPermit> = thread::scope(|scope| {
                let racer = || {
                    start.wait();
                    let take = |_| seats.take(&policy, Some(&ALICE), ip("192.0.2.1")).ok();
                    (0..3).filter_map(take).collect::<Vec<ConnectionPermit>>()
                };
                let racers: Vec<_> = (0..8).map(|_| scope.spawn(racer)).collect();
                let won = racers.into_iter().flat_map(|racer| racer.join().unwrap());
                won.collect()
            });
            assert_eq!(won.len(), PLACES);
            drop(won);
            assert!(seats.lock().is_empty());
        }
    }

    #[test]
    fn what_has_no_limit_is_not_counted() {
        let seats = Seats::default();
        let policy = policy("default", None, None);
        let mut seat = seats.take(&policy, Some(&ALICE), ip("192.0.2.1")).unwrap();
        seat.count_for(&BOB).unwrap();
        assert!(seats.lock().is_empty());
    }
}
