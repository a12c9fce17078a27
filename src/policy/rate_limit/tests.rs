//! What a limiter promises, by a clock that the tests move.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use proptest::prelude::*;

use super::buckets::{ROOM, Room};
use super::{Key, Limiter};
use crate::config::Rate;

fn rate(count: u32, seconds: u64, burst: u32) -> Rate {
    Rate {
        count: NonZeroU32::new(count).unwrap(),
        per: Duration::from_secs(seconds),
        burst: NonZeroU32::new(burst).unwrap(),
    }
}

fn limiter(rate: Rate) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Limiter::with_clock(rate, clock.clone()), clock)
}

/// A hundredth of what there is else, so that it is soon filled.
const SMALL: Room = Room {
    few: ROOM.few / 100,
    many: ROOM.many / 100,
    full: ROOM.full / 100,
    overfull: ROOM.overfull / 100,
};

/// A limiter that already has a crowd.
fn crowded(rate: Rate) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    let limiter = Limiter::with_room(rate, SMALL, clock.clone());
    crowd(&limiter);
    (limiter, clock)
}

/// So many strangers that the next key comes into a crowd.
fn crowd(limiter: &Limiter<FakeRelativeClock>) {
    for number in 0..1000 {
        let _ = limiter.check(Key::connection((1 << 40) | number), 1);
    }
    assert!(limiter.count() >= SMALL.few);
}

fn burst(limiter: &Limiter<FakeRelativeClock>, key: Key) -> usize {
    let asked = 0..10_000;
    asked.take_while(|_| limiter.check(key, 1).is_ok()).count()
}

fn block(number: u128) -> Key {
    let site = 0x2001_0db8_0007_u128 << 80;
    Key::address(Ipv6Addr::from_bits(site | (number << 64)).into())
}

#[test]
fn over_a_minute_what_is_allowed_is_the_rate_and_the_burst() {
    for (rate, is_crowd) in [
        (rate(20, 1, 20), false),
        (rate(20, 1, 20), true),
        (rate(100, 60, 200), false),
        (rate(100, 60, 200), true),
        (rate(5, 1, 1), true),
        (rate(1_000_000, 1, 2_000_000), false),
    ] {
        let (limiter, clock) = if is_crowd {
            crowded(rate)
        } else {
            limiter(rate)
        };
        let size = (rate.count.get() / 100).max(1);
        let mut allowed = 0;
        for _ in 0..12_000 {
            allowed += usize::from(limiter.check(Key::user(&[9; 32]), size).is_ok());
            allowed += usize::from(limiter.check(Key::user(&[9; 32]), size).is_ok());
            clock.advance(Duration::from_millis(5));
        }
        let allowed = allowed as f64 * f64::from(size);
        let due = 60.0 * f64::from(rate.count.get()) / rate.per.as_secs_f64();
        let most = due + f64::from(rate.burst.get());
        let can_ask = 24_000.0 * f64::from(size);
        assert!(allowed <= most.min(can_ask), "{rate:?}: {allowed}");
        assert!(
            allowed >= (most * 0.99 - 1.0).min(can_ask),
            "{rate:?}: {allowed}"
        );
    }
}

#[test]
fn ten_thousand_keys_never_throttle_each_other() {
    let (limiter, clock) = limiter(rate(20, 1, 20));
    for _ in 0..2 {
        for number in 0..10_000 {
            let key = Key::connection(number);
            assert_eq!(burst(&limiter, key), 20, "key {number}");
        }
        clock.advance(Duration::from_secs(1));
    }
}

#[test]
fn a_client_that_waits_as_long_as_told_is_allowed() {
    let (limiter, clock) = limiter(rate(20, 1, 20));
    let key = Key::EVERYBODY;
    assert_eq!(burst(&limiter, key), 20);
    let wait = limiter.check(key, 3).unwrap_err();
    assert_eq!(
        (wait.time, wait.is_in_vain),
        (Duration::from_millis(150), false)
    );
    clock.advance(wait.time - Duration::from_nanos(1));
    limiter.check(key, 3).unwrap_err();
    clock.advance(Duration::from_nanos(1));
    limiter.check(key, 3).unwrap();
}

#[test]
fn more_than_the_burst_is_never_allowed_and_costs_nothing() {
    let (limiter, _) = limiter(rate(20, 1, 40));
    let wait = limiter.check(Key::EVERYBODY, 41).unwrap_err();
    assert_eq!((wait.time, wait.is_in_vain), (Duration::from_secs(2), true));
    limiter.check(Key::EVERYBODY, 0).unwrap();
    limiter.check(Key::EVERYBODY, 40).unwrap();
    limiter.check(Key::EVERYBODY, 0).unwrap();
    limiter.check(Key::EVERYBODY, u32::MAX).unwrap_err();
}

#[test]
fn a_client_rotating_through_a_48_gets_eight_quotas() {
    let (limiter, clock) = limiter(rate(20, 1, 20));
    let mut allowed = 0;
    for second in 0..10 {
        for number in (0..65_536).step_by(8) {
            allowed += usize::from(limiter.check(block(number), 1).is_ok());
        }
        assert!(allowed <= 8 * 20 * (second + 1), "{allowed} in {second} s");
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(allowed, 8 * 20 * 10);
}

#[test]
fn one_64_that_asks_in_vain_takes_nothing_from_its_neighbours() {
    let (limiter, _) = limiter(rate(20, 1, 20));
    for _ in 0..1000 {
        let _ = limiter.check(block(1), 1);
    }
    for number in 2..9 {
        assert_eq!(burst(&limiter, block(number)), 20);
    }
    assert_eq!(burst(&limiter, block(9)), 0);
}

#[test]
fn in_a_crowd_a_burst_is_a_burst_and_nothing_is_given_away() {
    let (limiter, clock) = crowded(rate(20, 1, 40));
    for number in 0..100 {
        assert_eq!(burst(&limiter, Key::connection(number)), 40);
    }
    // First a little, then more than is left: what was little is not forgotten.
    let key = Key::user(&[1; 32]);
    limiter.check(key, 5).unwrap();
    limiter.check(key, 36).unwrap_err();
    limiter.check(key, 35).unwrap();
    limiter.check(key, 1).unwrap_err();
    // Nor in the next window.
    let key = Key::user(&[2; 32]);
    limiter.check(key, 5).unwrap();
    clock.advance(Duration::from_secs(1));
    limiter.check(key, 36).unwrap_err();
}

#[test]
fn keys_that_ask_once_need_no_memory_however_many_they_are() {
    let (limiter, clock) = limiter(rate(20, 1, 20));
    let mut most = 0;
    for number in 0..200_000 {
        limiter.check(Key::connection(number), 1).unwrap();
        clock.advance(Duration::from_micros(50));
        most = most.max(limiter.count());
    }
    assert!(most < ROOM.few + 500, "{most}");
    clock.advance(Duration::from_secs(2));
    limiter.prune();
    assert_eq!(limiter.count(), 0);
}

#[test]
fn busy_keys_share_a_bucket_when_full_and_stay_limited() {
    let clock = FakeRelativeClock::default();
    let limiter = Limiter::with_room(rate(1, 3600, 8), SMALL, clock);
    for number in 0..12_000 {
        let _ = limiter.check(Key::connection(number), 2);
    }
    assert!(limiter.is_crowded());
    let count = limiter.count();
    assert!((SMALL.full..=SMALL.full + 2000).contains(&count), "{count}");
    // Newcomers share what their crowd has.
    let allowed = (0..100_000).filter(|number| {
        let newcomer = Key::connection((1 << 40) | number);
        limiter.check(newcomer, 2).is_ok()
    });
    assert!(allowed.count() < 4096 * 4);
    // A key that was there before keeps its bucket.
    limiter.check(Key::connection(1), 6).unwrap();
    limiter.check(Key::connection(1), 1).unwrap_err();
    // However many crowds there are, there is an end.
    for number in 0..200_000 {
        let _ = limiter.check(Key::address(Ipv4Addr::from_bits(number << 8).into()), 2);
    }
    let count = limiter.count();
    assert!(
        (SMALL.overfull..SMALL.overfull + 2).contains(&count),
        "{count}"
    );
    // Nothing is full again yet, so nothing can be forgotten.
    limiter.prune();
    assert_eq!(limiter.count(), count);
}

#[test]
fn threads_that_ask_for_one_key_get_one_burst_together() {
    for is_crowd in [false, true] {
        let rate = rate(1, 3600, 400);
        let (limiter, _) = if is_crowd {
            crowded(rate)
        } else {
            limiter(rate)
        };
        let limiter = Arc::new(limiter);
        for key in (0..50).map(Key::connection) {
            let allowed = AtomicUsize::new(0);
            let ask = || {
                let mine = (0..200).filter(|_| limiter.check(key, 1).is_ok());
                allowed.fetch_add(mine.count(), Ordering::Relaxed);
            };
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(ask);
                }
            });
            let allowed = allowed.into_inner();
            assert_eq!(allowed, 400);
        }
    }
}

/// What exactly one bucket allows, by the textbook.
struct Textbook {
    rate: Rate,
    /// Tokens in it, in nanoseconds of refilling.
    tokens: u128,
}

impl Textbook {
    fn passes(&mut self, nanos: u64) {
        let interval = u128::from(u64::try_from(self.rate.per.as_nanos()).unwrap())
            / u128::from(self.rate.count.get());
        let full = interval * u128::from(self.rate.burst.get());
        self.tokens = (self.tokens + u128::from(nanos)).min(full);
    }

    fn takes(&mut self, count: u32) -> bool {
        let interval = self.rate.per.as_nanos() / u128::from(self.rate.count.get());
        let cost = interval * u128::from(count);
        let is_enough = self.tokens >= cost;
        if is_enough {
            self.tokens -= cost;
        }
        is_enough
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Exactly the textbook's bucket where memory allows; in a crowd never more than it over any time, whatever the pattern.
    #[test]
    fn no_pattern_of_asking_gets_more_than_a_bucket_holds(
        burst in 1..100u32,
        asked in prop::collection::vec((0..1_500u64, 1..12u32), 1..400),
        is_crowd in any::<bool>(),
    ) {
        let rate = rate(10, 1, burst);
        let (limiter, clock) = if is_crowd { crowded(rate) } else { limiter(rate) };
        let interval = 100_000_000;
        let mut textbook = Textbook { rate, tokens: u128::from(burst) * interval };
        let key = Key::EVERYBODY;
        for (pause, count) in asked {
            clock.advance(Duration::from_millis(pause));
            textbook.passes(pause * 1_000_000);
            let is_allowed = limiter.check(key, count).is_ok();
            if is_crowd {
                // The textbook's bucket gives what the limiter allowed; it must hold that.
                prop_assert!(!is_allowed || textbook.takes(count));
            } else {
                prop_assert_eq!(is_allowed, textbook.takes(count));
            }
        }
    }
}
