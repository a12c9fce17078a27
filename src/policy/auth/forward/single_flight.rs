//! Questions under way, and where their answers are put down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::cache::{Bound, CacheKey, Shelf};
use super::{Authority, AuthorityVerdict, Verified, come_back};
use crate::policy::auth::AuthError;
use crate::policy::auth::identity::Identity;

/// Questions under way.
const FLIGHTS: usize = 16_384;
/// Entries of accepted credentials, and the bytes of their answers. In memory they become a few times that.
const KNOWN: usize = 90_000;
const KNOWN_BYTES: usize = 64 << 20;
/// Entries of denied credentials. They have a bound of their own, so made-up cookies cannot evict valid entries.
const REFUSED: usize = 10_000;
/// How long a no holds.
const REFUSED_AGE: Duration = Duration::from_secs(5);

type Answer = watch::Receiver<Option<AuthorityVerdict>>;
type Teller = watch::Sender<Option<AuthorityVerdict>>;

/// What is known, and what is being asked.
pub(crate) struct FlightState {
    known: Shelf<Verified>,
    refused: Shelf<AuthError>,
    flights: HashMap<CacheKey, (u64, Answer)>,
    next: u64,
}

impl FlightState {
    /// Empty; `age` is the oldest answer that a caller may want.
    pub(crate) fn new(age: Duration) -> Self {
        FlightState {
            known: Shelf::new(Bound {
                entries: KNOWN,
                bytes: KNOWN_BYTES,
                age,
            }),
            refused: Shelf::new(Bound {
                entries: REFUSED,
                bytes: usize::MAX,
                age: REFUSED_AGE,
            }),
            flights: HashMap::new(),
            next: 0,
        }
    }

    /// An answer that holds: younger than `age`, or a fresh no.
    pub(crate) fn recall(
        &self,
        key: &CacheKey,
        age: Duration,
        now: Instant,
    ) -> Option<AuthorityVerdict> {
        if let Some(denied) = self.refused.get(key, REFUSED_AGE, now) {
            return Some(Err(denied.clone()));
        }
        self.known.get(key, age, now).cloned().map(Ok)
    }

    /// The answer that others wait for.
    pub(crate) fn join(&self, key: &CacheKey) -> Option<Answer> {
        self.flights.get(key).map(|(_, answer)| answer.clone())
    }

    /// Begins a flight: its number, and both ends of its answer. `None` where there are too many.
    pub(crate) fn set_out(&mut self, key: CacheKey) -> Option<(u64, Teller, Answer)> {
        if self.flights.len() >= FLIGHTS {
            return None;
        }
        let number = self.next;
        self.next += 1;
        let (tell, answer) = watch::channel(None);
        self.flights.insert(key, (number, answer.clone()));
        Some((number, tell, answer))
    }

    /// Forgets the identities that `is_meant` selects. Identities of requests under way are not known yet: these requests get
    /// no new waiters, and their answers are not kept.
    pub(crate) fn forget(&mut self, is_meant: impl Fn(&Identity) -> bool) {
        self.known.forget(|vouched| is_meant(&vouched.identity));
        self.flights.clear();
    }

    /// Ends a flight; whether it was still one.
    fn take_down(&mut self, key: &CacheKey, number: u64) -> bool {
        let is_mine = |(of, _): &(u64, Answer)| *of == number;
        let is_there = self.flights.get(key).is_some_and(is_mine);
        if is_there {
            self.flights.remove(key);
        }
        is_there
    }

    fn keep(&mut self, key: CacheKey, verdict: &AuthorityVerdict, at: Instant, bytes: usize) {
        match verdict {
            Ok(vouched) => {
                self.refused.remove(&key);
                self.known.put(key, vouched.clone(), at, bytes);
            }
            Err(AuthError::Unavailable(_)) => {}
            Err(denied) => {
                self.known.remove(&key);
                self.refused.put(key, denied.clone(), at, 0);
            }
        }
    }
}

/// The end of a flight. Its entry goes however it ends, so that no caller joins one that never lands.
pub(crate) struct Landing {
    authority: Arc<Authority>,
    key: CacheKey,
    number: u64,
    tell: Teller,
}

impl Landing {
    /// Of the flight with this number.
    pub(crate) fn new(authority: Arc<Authority>, key: CacheKey, number: u64, tell: Teller) -> Self {
        Landing {
            authority,
            key,
            number,
            tell,
        }
    }

    /// Keeps the answer, and gives it to all waiters.
    pub(crate) fn land(self, verdict: AuthorityVerdict, at: Instant, bytes: usize) {
        let mut state = self.authority.state();
        if state.take_down(&self.key, self.number) {
            state.keep(self.key, &verdict, at, bytes);
        }
        drop(state);
        self.tell.send_replace(Some(verdict));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.authority.state().take_down(&self.key, self.number);
    }
}

/// Waits for a flight's answer. A flight that never lands counts as an outage.
pub(crate) async fn wait(mut answer: Answer) -> AuthorityVerdict {
    let landed = answer.wait_for(Option::is_some).await;
    let verdict = landed.ok().and_then(|verdict| verdict.clone());
    verdict.unwrap_or_else(|| Err(come_back()))
}

#[cfg(test)]
mod tests {
    use super::super::response;
    use super::super::response::AuthResponse as Said;
    use super::super::tests::forward;
    use super::*;

    #[test]
    fn invented_cookies_drive_out_no_user_that_has_one() {
        let now = Instant::now();
        let said = response::of_body(
            &"session".into(),
            &forward("127.0.0.1:1"),
            br#"{"user":"alice"}"#,
            [0; 32],
        );
        let Said::Known(alice) = said else {
            panic!("no answer");
        };
        let alice = Verified {
            identity: alice,
            at: now,
            unix: 0,
        };
        let age = Duration::from_secs(30);
        let mut state = FlightState::new(age);
        state.keep([255; 32], &Ok(alice.clone()), now, 16);
        for n in 0..20_000u64 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            state.keep(key, &Err(AuthError::Invalid("no".into())), now, 0);
        }
        assert_eq!(state.recall(&[0; 32], age, now), None);
        assert_eq!(state.recall(&[255; 32], age, now), Some(Ok(alice)));
    }
}
