//! What the edge costs a request, beside what a peer takes for the same. `benches/edge` runs it.
//!
//! `edge_cost` makes all measurements and prints a table; `edge_cost NAME SIDE` makes one, once, and prints its figures. Each runs
//! in a process of its own: what one leaves behind in the allocator would be the next one's memory.

mod people;

use std::error::Error;
use std::hint::black_box;
use std::net::Ipv6Addr;
use std::num::NonZeroU32;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, fs};

use crossfade::config::Rate;
use crossfade::policy::rate_limit::{Key, Limiter};
use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Something that is measured, of crossfade and of a peer in turn.
struct Measurement {
    name: &'static str,
    /// The proxy that it is compared with.
    peer: &'static str,
    /// What its figures are.
    figures: &'static [&'static str],
    run: fn(Side) -> Vec<f64>,
}

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
        peer: RING,
        figures: CHECK,
        run: people::known_person,
    },
    Measurement {
        name: "new-es256-token-origin-limit-role",
        peer: RING,
        figures: CHECK,
        run: people::new_token,
    },
    Measurement {
        name: "known-key",
        peer: GOVERNOR,
        figures: CHECK,
        run: known_key,
    },
    Measurement {
        name: "refused-key",
        peer: GOVERNOR,
        figures: CHECK,
        run: refused_key,
    },
    Measurement {
        name: "light-key-in-a-crowd",
        peer: GOVERNOR,
        figures: CHECK,
        run: light_key,
    },
    Measurement {
        name: "million-new-at-50000-a-second",
        peer: GOVERNOR,
        figures: FLOOD,
        run: |side| million(side, Duration::from_micros(20)),
    },
    Measurement {
        name: "million-new-at-once",
        peer: GOVERNOR,
        figures: FLOOD,
        run: |side| million(side, Duration::ZERO),
    },
];

/// Checks of a limit in a round.
const CALLS: u32 = 1_000_000;

/// Both sides take turns; the median counts.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [] => all(),
        [name, side] => one(name, side),
        _ => Err("edge_cost [NAME crossfade|peer]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<()> {
    println!(
        "| measurement | figure | crossfade | peer | ratio | peer is |\n|---|---|---|---|---|---|"
    );
    for measurement in MEASUREMENTS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(ask(measurement, "crossfade")?);
            theirs.push(ask(measurement, "peer")?);
        }
        for (at, figure) in measurement.figures.iter().enumerate() {
            let (ours, theirs) = (median(&ours, at), median(&theirs, at));
            println!(
                "| {} | {figure} | {ours:.1} | {theirs:.1} | {:.2} | {} |",
                measurement.name,
                ours / theirs,
                measurement.peer
            );
        }
    }
    Ok(())
}

/// One measurement in a process of its own.
fn ask(measurement: &Measurement, side: &str) -> Result<Vec<f64>> {
    let answer = Command::new(env::current_exe()?)
        .args([measurement.name, side])
        .output()?;
    if !answer.status.success() {
        return Err(String::from_utf8_lossy(&answer.stderr).into());
    }
    let figures = String::from_utf8(answer.stdout)?;
    Ok(figures
        .split_whitespace()
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?)
}

fn one(name: &str, side: &str) -> Result<()> {
    let side = match side {
        "crossfade" => Side::Crossfade,
        "peer" => Side::Peer,
        _ => return Err("a side is crossfade or peer".into()),
    };
    let measurement = MEASUREMENTS
        .iter()
        .find(|measurement| measurement.name == name)
        .ok_or("there is no such measurement")?;
    for figure in (measurement.run)(side) {
        println!("{figure}");
    }
    Ok(())
}

fn median(rounds: &[Vec<f64>], at: usize) -> f64 {
    let mut figures: Vec<f64> = rounds
        .iter()
        .filter_map(|round| round.get(at).copied())
        .collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
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
