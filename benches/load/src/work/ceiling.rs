//! The most that one core delivers, and how long a newcomer waits at 80 % of it.

use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Server;
use crate::backend::Backend;
use crate::fleet::Fleet;
use crate::meter::{Meter, Reading};
use crate::publisher::Plan;
use crate::stamp::Clock;

/// A rate is carried when so much of what was due arrives in the window.
const CARRIED: f64 = 0.97;
const BISECTIONS: usize = 2;
const HIGHEST_RATE: f64 = 50_000.0;

#[derive(Deserialize)]
pub struct Ceiling {
    server: Server,
    clients: usize,
    size: usize,
    /// The first rate tried, in events per second.
    from_rate: f64,
    /// Each rate tried is so many times the one before.
    growth: f64,
    max_p99_ms: f64,
    seconds: f64,
    /// Newcomers per second, and for how long.
    joins_per_s: f64,
    join_seconds: f64,
}

#[derive(Serialize)]
pub struct Found {
    /// The highest rate carried; None where not even the first was.
    rate: Option<f64>,
    reading: Option<Reading>,
    steps: Vec<Step>,
    join: Option<Join>,
}

#[derive(Serialize)]
struct Step {
    rate: f64,
    carried: bool,
    deliveries_per_s: f64,
    p99_ms: Option<f64>,
    load_cpu_share: f64,
    lost: u64,
    closed: u64,
}

#[derive(Serialize)]
struct Join {
    asked: u32,
    answered: u64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl Ceiling {
    pub fn run(&self, backend: &Backend, clock: Clock) -> io::Result<Found> {
        let mut fleet = Fleet::new(&self.server.target, clock)?;
        let mut found = Found {
            rate: None,
            reading: None,
            steps: Vec::new(),
            join: None,
        };
        let mut rate = self.from_rate;
        while rate < HIGHEST_RATE && self.try_twice(rate, &mut fleet, backend, &mut found)? {
            rate *= self.growth;
        }
        for _ in 0..BISECTIONS {
            let middle = (found.rate.unwrap_or_default() + rate) / 2.0;
            if found.rate.is_some() && !self.try_twice(middle, &mut fleet, backend, &mut found)? {
                rate = middle;
            }
        }
        if let Some(rate) = found.rate {
            found.join = Some(self.join(rate * 0.8, &mut fleet, backend)?);
        }
        Ok(found)
    }

    /// Whether the rate was carried, or was when tried again: one hiccup of the machine is no ceiling.
    fn try_twice(
        &self,
        rate: f64,
        fleet: &mut Fleet,
        backend: &Backend,
        found: &mut Found,
    ) -> io::Result<bool> {
        Ok(self.try_rate(rate, fleet, backend, found)?
            || self.try_rate(rate, fleet, backend, found)?)
    }

    fn try_rate(
        &self,
        rate: f64,
        fleet: &mut Fleet,
        backend: &Backend,
        found: &mut Found,
    ) -> io::Result<bool> {
        fleet.open(self.clients.saturating_sub(fleet.ready()))?;
        self.publish(rate, backend);
        fleet.turn(Duration::from_millis(500))?;
        let meter = Meter::start(self.server.pid, fleet, backend);
        fleet.turn(Duration::from_secs_f64(self.seconds))?;
        let reading = meter.read(fleet, backend);
        backend.publisher.stop();
        let due = rate * reading.seconds * self.clients as f64;
        let carried = reading.deliveries as f64 >= due * CARRIED
            && reading.p99_ms.is_some_and(|p99| p99 <= self.max_p99_ms)
            && reading.lost + reading.closed == 0;
        found.steps.push(Step {
            rate,
            carried,
            deliveries_per_s: reading.deliveries_per_s,
            p99_ms: reading.p99_ms,
            load_cpu_share: reading.load_cpu_share,
            lost: reading.lost,
            closed: reading.closed,
        });
        if carried {
            found.rate = Some(rate);
            found.reading = Some(reading);
        }
        self.await_quiet(fleet)?;
        Ok(carried)
    }

    fn join(&self, rate: f64, fleet: &mut Fleet, backend: &Backend) -> io::Result<Join> {
        fleet.open(self.clients.saturating_sub(fleet.ready()))?;
        self.publish(rate, backend);
        fleet.turn(Duration::from_millis(500))?;
        fleet.tally.handshakes.clear();
        let began = Instant::now();
        let joins = (self.joins_per_s * self.join_seconds) as u32;
        for join in 0..joins {
            fleet
                .turn_until(began + Duration::from_secs_f64(f64::from(join) / self.joins_per_s))?;
            fleet.connect(None)?;
        }
        fleet.turn(Duration::from_secs(1))?;
        backend.publisher.stop();
        let handshakes = &fleet.tally.handshakes;
        Ok(Join {
            asked: joins,
            answered: handshakes.count(),
            p50_ms: handshakes.percentile_ms(0.5),
            p99_ms: handshakes.percentile_ms(0.99),
        })
    }

    fn publish(&self, rate: f64, backend: &Backend) {
        backend.publisher.publish(Plan {
            destination: self.server.publish.clone(),
            rate,
            size: self.size,
        });
    }

    /// Waits until what the server still held has come.
    fn await_quiet(&self, fleet: &mut Fleet) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let before = fleet.tally.latency.count();
            fleet.turn(Duration::from_millis(100))?;
            if fleet.tally.latency.count() == before || Instant::now() > deadline {
                return Ok(());
            }
        }
    }
}
