//! Tickets: one handshake each, within thirty seconds.
//!
//! Pure: time and chance are arguments. Of a ticket only its hash is kept, so what is found here opens nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// How long a ticket is valid.
pub(crate) const LIFE: Duration = Duration::from_secs(30);

/// Tickets that are out at one time; the oldest go.
const MOST: usize = 10_000;

/// The same, of one principal.
const MOST_OF_ONE: usize = 16;

/// Unused tickets, and what each stands for.
pub(crate) struct Tickets<T>(Mutex<Drawer<T>>);

struct Drawer<T> {
    /// In the order in which they were made.
    out: BTreeMap<u64, Ticket<T>>,
    by_hash: HashMap<[u8; 32], u64>,
    /// The oldest first.
    of_principal: HashMap<[u8; 32], VecDeque<u64>>,
    next: u64,
}

struct Ticket<T> {
    hash: [u8; 32],
    principal: [u8; 32],
    end: Instant,
    payload: T,
}

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Tickets(Mutex::new(Drawer {
            out: BTreeMap::new(),
            by_hash: HashMap::new(),
            of_principal: HashMap::new(),
            next: 0,
        }))
    }
}

impl<T> Tickets<T> {
    /// A new ticket for this principal, made of bytes that cannot be guessed.
    pub(crate) fn issue(
        &self,
        now: Instant,
        random: [u8; 16],
        principal: [u8; 32],
        payload: T,
    ) -> String {
        let text = BASE64_URL_SAFE_NO_PAD.encode(random);
        let ticket = Ticket {
            hash: Sha256::digest(&text).into(),
            principal,
            end: now + LIFE,
            payload,
        };
        let mut drawer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drawer.put(now, ticket);
        text
    }

    /// What a ticket stands for, once.
    pub(crate) fn redeem(&self, now: Instant, text: &str) -> Option<T> {
        let hash: [u8; 32] = Sha256::digest(text).into();
        let mut drawer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = *drawer.by_hash.get(&hash)?;
        let ticket = drawer.take(number)?;
        (now < ticket.end).then_some(ticket.payload)
    }
}

impl<T> fmt::Debug for Tickets<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl<T> Drawer<T> {
    fn put(&mut self, now: Instant, ticket: Ticket<T>) {
        while let Some((&oldest, first)) = self.out.first_key_value()
            && (first.end <= now || self.out.len() >= MOST)
        {
            self.take(oldest);
        }
        let own = self.of_principal.get(&ticket.principal);
        if let Some(&oldest) = own
            .filter(|own| own.len() >= MOST_OF_ONE)
            .and_then(VecDeque::front)
        {
            self.take(oldest);
        }
        let number = self.next;
        self.next += 1;
        self.by_hash.insert(ticket.hash, number);
        let own = self.of_principal.entry(ticket.principal);
        own.or_default().push_back(number);
        self.out.insert(number, ticket);
    }

    fn take(&mut self, number: u64) -> Option<Ticket<T>> {
        let ticket = self.out.remove(&number)?;
        self.by_hash.remove(&ticket.hash);
        if let Some(own) = self.of_principal.get_mut(&ticket.principal) {
            own.retain(|other| *other != number);
            if own.is_empty() {
                self.of_principal.remove(&ticket.principal);
            }
        }
        Some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALICE: [u8; 32] = [1; 32];

    fn random(number: u64) -> [u8; 16] {
        u128::from(number).to_be_bytes()
    }

    fn principal(number: u64) -> [u8; 32] {
        Sha256::digest(number.to_be_bytes()).into()
    }

    #[test]
    fn a_ticket_is_good_once() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let ticket = tickets.issue(now, [7; 16], ALICE, "alice");
        assert_eq!(ticket, "BwcHBwcHBwcHBwcHBwcHBw");
        assert_eq!(tickets.redeem(now, &ticket.to_uppercase()), None);
        assert_eq!(tickets.redeem(now, ""), None);
        assert_eq!(tickets.redeem(now, &ticket), Some("alice"));
        assert_eq!(tickets.redeem(now, &ticket), None);
    }

    #[test]
    fn a_ticket_lasts_thirty_seconds() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let early = tickets.issue(now, random(1), ALICE, ());
        let late = tickets.issue(now, random(2), ALICE, ());
        let instant = Duration::from_millis(1);
        assert_eq!(tickets.redeem(now + LIFE - instant, &early), Some(()));
        assert_eq!(tickets.redeem(now + LIFE, &late), None);
        tickets.issue(now + LIFE, random(3), ALICE, ());
        assert_eq!(tickets.0.lock().unwrap().out.len(), 1);
    }

    #[test]
    fn a_client_that_takes_many_loses_its_own_oldest() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let others = tickets.issue(now, random(999), [2; 32], 999);
        let own: Vec<String> = (0..20)
            .map(|number| tickets.issue(now, random(number), ALICE, number))
            .collect();
        let redeemed: Vec<u64> = own
            .iter()
            .filter_map(|ticket| tickets.redeem(now, ticket))
            .collect();
        assert_eq!(redeemed, (4..20).collect::<Vec<u64>>());
        assert_eq!(tickets.redeem(now, &others), Some(999));
    }

    #[test]
    fn tickets_are_bounded_and_expired_ones_leave_nothing() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let all: Vec<String> = (0..10_100)
            .map(|number| tickets.issue(now, random(number), principal(number), number))
            .collect();
        assert_eq!(tickets.0.lock().unwrap().out.len(), MOST);
        assert_eq!(tickets.redeem(now, &all[99]), None);
        for (number, ticket) in (0..).zip(&all).skip(100) {
            assert_eq!(tickets.redeem(now, ticket), Some(number));
        }
        let drawer = tickets.0.lock().unwrap();
        assert!(drawer.by_hash.is_empty() && drawer.of_principal.is_empty());
    }

    proptest! {
        #[test]
        fn no_text_is_a_ticket(text in ".{0,64}") {
            let (tickets, now) = (Tickets::default(), Instant::now());
            let ticket = tickets.issue(now, [9; 16], ALICE, ());
            prop_assume!(text != ticket);
            prop_assert_eq!(tickets.redeem(now, &text), None);
        }
    }
}
