//! What the edge costs a request, beside what a peer takes for the same. `benches/edge` runs it.
//!
//! `edge_cost` makes all measurements and prints a table; `edge_cost NAME SIDE` makes one, once, and prints its figures.

mod measure;
mod people;

use std::fs;
use std::hint::black_box;
use std::net::Ipv6Addr;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossfade::config::Rate;
use crossfade::policy::rate_limit::{Key, Limiter};
use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};

use measure::{ROUNDS, Result};

/// Crossfade and a peer are measured in turn.
struct Run {
    /// The proxy that crossfade is compared with.
    peer: &'static str,
    figures: fn(Side) -> Vec<f64>,
}

type Measurement = measure::Measurement<Run>;

#[derive(Clone, Copy)]
enum Side {
    Crossfade,
    Peer,
}

const GOVERNOR: &str = "governor alone";
const CHECK: &[&str] = &["ns", "p99 ns"];
const FLOOD: &[&str] = &["ns", "MiB", "MiB pruned", "prune ms"];

const RING: &str = "ring, the signature alone";

const MEASUREMENTS: &[Measurement] = &[
    Measurement {
        name: "known-person-origin-limit-role",
        figures: CHECK,
        run: Run {
            peer: RING,
            figures: people::known_person,
        },
    },
    Measurement {
        name: "new-es256-token-origin-limit-role",
        figures: CHECK,
        run: Run {
            peer: RING,
            figures: people::new_token,
        },
    },
    Measurement {
        name: "known-key",
        figures: CHECK,
        run: Run {
            peer: GOVERNOR,
            figures: known_key,
        },
    },
    Measurement {
        name: "refused-key",
        figures: CHECK,
        run: Run {
            peer: GOVERNOR,
            figures: refused_key,
        },
    },
    Measurement {
        name: "light-key-in-a-crowd",
        figures: CHECK,
        run: Run {
            peer: GOVERNOR,
            figures: light_key,
        },
    },
    Measurement {
        name: "million-new-at-50000-a-second",
        figures: FLOOD,
        run: Run {
            peer: GOVERNOR,
            figures: |side| million(side, Duration::from_micros(20)),
        },
    },
    Measurement {
        name: "million-new-at-once",
        figures: FLOOD,
        run: Run {
            peer: GOVERNOR,
            figures: |side| million(side, Duration::ZERO),
        },
    },
];

/// Checks of a limit in a round.
const CALLS: u32 = 1_000_000;

fn main() -> ExitCode {
    measure::run(|arguments| match arguments {
        [] => all(),
        [name, side] => {
            let side = match *side {
                "crossfade" => Side::Crossfade,
                "peer" => Side::Peer,
                _ => return Err("a side is crossfade or peer".into()),
            };
            let measurement = measure::find(MEASUREMENTS, name)?;
            measure::answer((measurement.run.figures)(side));
            Ok(())
        }
        _ => Err("edge_cost [NAME crossfade|peer]".into()),
    })
}

/// Both sides take turns.
fn all() -> Result<()> {
    println!(
        "| measurement | figure | crossfade | peer | ratio | peer is |\n|---|---|---|---|---|---|"
    );
    for Measurement { name, figures, run } in MEASUREMENTS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(measure::ask(&[name, "crossfade"])?);
            theirs.push(measure::ask(&[name, "peer"])?);
        }
        for (at, figure) in figures.iter().enumerate() {
            let [_, ours, _] = measure::spread(&ours, at);
            let [_, theirs, _] = measure::spread(&theirs, at);
            let (ratio, peer) = (ours / theirs, run.peer);
            println!("| {name} | {figure} | {ours:.1} | {theirs:.1} | {ratio:.2} | {peer} |");
        }
    }
    Ok(())
}

/// A limit that is never reached.
const VAST: Rate = Rate {
    count: NonZeroU32::new(1_000_000).unwrap(),
    per: Duration::from_secs(1),
    burst: NonZeroU32::new(1_000_000_000).unwrap(),
};

/// A limit as one would write it: `"20/s"`.
const USUAL: Rate = Rate {
    count: NonZeroU32::new(20).unwrap(),
    per: Duration::from_secs(1),
    burst: NonZeroU32::new(20).unwrap(),
};

/// The same client again and again, which has its bucket.
fn known_key(side: Side) -> Vec<f64> {
    with_limit(side, VAST, |check| {
        cost(CALLS, || check(Key::connection(1)))
    })
}

/// The same client again and again, far above its limit.
fn refused_key(side: Side) -> Vec<f64> {
    with_limit(side, USUAL, |check| {
        cost(CALLS, || check(Key::connection(1)))
    })
}

/// A client that asks for little, where so many are about that it has no bucket.
fn light_key(side: Side) -> Vec<f64> {
    with_limit(side, VAST, |check| {
        for stranger in 0..20_000 {
            check(Key::connection((1 << 40) | stranger));
        }
        cost(CALLS, || check(Key::connection(1)))
    })
}

fn with_limit<T>(side: Side, rate: Rate, measure: impl FnOnce(&dyn Fn(Key) -> bool) -> T) -> T {
    match side {
        Side::Crossfade => {
            let limiter = Limiter::new(rate);
            measure(&|key| limiter.check(key, 1).is_ok())
        }
        Side::Peer => {
            let limiter = RateLimiter::keyed(quota(rate));
            measure(&|key| limiter.check_key(&key).is_ok())
        }
    }
}

fn quota(rate: Rate) -> Quota {
    Quota::with_period(rate.per / rate.count.get())
        .expect("a rate that has time")
        .allow_burst(rate.burst)
}

/// Nanoseconds of one call, and of the slowest in a hundred, the clock's own among these.
fn cost(calls: u32, mut call: impl FnMut() -> bool) -> Vec<f64> {
    for _ in 0..calls / 10 {
        black_box(call());
    }
    let start = Instant::now();
    for _ in 0..calls {
        black_box(call());
    }
    let each = start.elapsed().as_nanos() as f64 / f64::from(calls);
    let mut singles: Vec<u128> = (0..calls / 5)
        .map(|_| {
            let start = Instant::now();
            black_box(call());
            start.elapsed().as_nanos()
        })
        .collect();
    singles.sort_unstable();
    let p99 = singles.get(singles.len() / 100 * 99).copied();
    vec![each, p99.unwrap_or_default() as f64]
}

/// A million IPv6 networks that were never seen before, each with a /48 of its own, one every `pause`.
fn million(side: Side, pause: Duration) -> Vec<f64> {
    let clock = FakeRelativeClock::default();
    let pass = || clock.advance(pause);
    match side {
        Side::Crossfade => {
            let limiter = Limiter::with_clock(USUAL, clock.clone());
            let check = |key: Key| {
                pass();
                limiter.check(key, 1).is_ok()
            };
            flood(&check, &|| limiter.prune(), &clock)
        }
        Side::Peer => {
            let limiter = RateLimiter::dashmap_with_clock(quota(USUAL), clock.clone());
            let check = |key: Key| {
                pass();
                limiter.check_key(&key).is_ok()
            };
            let prune = || {
                limiter.retain_recent();
                limiter.shrink_to_fit();
            };
            flood(&check, &prune, &clock)
        }
    }
}

fn flood(check: &dyn Fn(Key) -> bool, prune: &dyn Fn(), clock: &FakeRelativeClock) -> Vec<f64> {
    const KEYS: u32 = 1_000_000;
    let address = |number: u32| {
        let bits = (0x2000_u128 << 112) | (u128::from(number) << 80);
        Key::address(Ipv6Addr::from_bits(bits).into())
    };
    let before = resident();
    let start = Instant::now();
    for number in 0..KEYS {
        black_box(check(address(number)));
    }
    let each = start.elapsed().as_nanos() as f64 / f64::from(KEYS);
    let grown = resident() - before;
    clock.advance(Duration::from_secs(60));
    let start = Instant::now();
    prune();
    let pruning = start.elapsed().as_secs_f64() * 1e3;
    vec![each, grown, resident() - before, pruning]
}

/// Resident memory of this process in MiB.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}
