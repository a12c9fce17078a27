//! What happened between two instants: deliveries and their latency, and the processor time of server and load generator.

use std::time::Instant;

use serde::Serialize;

use crate::backend::Backend;
use crate::fleet::Fleet;
use crate::process::Tree;

pub struct Meter {
    server: Tree,
    load: Tree,
    began: Instant,
    server_cpu: f64,
    load_cpu: f64,
    published: u64,
}

/// Units are in the names; a share of 1 is a whole core.
#[derive(Serialize)]
pub struct Reading {
    pub seconds: f64,
    pub published: u64,
    pub deliveries: u64,
    pub deliveries_per_s: f64,
    pub lost: u64,
    /// Polls that brought an event, where clients poll.
    pub polls: u64,
    pub closed: u64,
    pub close_code: u16,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub cpu_s: f64,
    pub cpu_s_per_million: f64,
    pub cpu_us_per_poll: Option<f64>,
    pub cpu_share: f64,
    pub load_cpu_share: f64,
}

impl Meter {
    pub fn start(pid: u32, fleet: &mut Fleet, backend: &Backend) -> Meter {
        let (server, load) = (Tree::of(pid), Tree::of(std::process::id()));
        fleet.tally.latency.clear();
        fleet.tally.lost = 0;
        fleet.tally.polls = 0;
        fleet.tally.closed = 0;
        fleet.tally.close_code = 0;
        Meter {
            began: Instant::now(),
            server_cpu: server.cpu_seconds(),
            load_cpu: load.cpu_seconds(),
            published: backend.publisher.published(),
            server,
            load,
        }
    }

    pub fn read(&self, fleet: &Fleet, backend: &Backend) -> Reading {
        let seconds = self.began.elapsed().as_secs_f64();
        let cpu_s = self.server.cpu_seconds() - self.server_cpu;
        let tally = &fleet.tally;
        let deliveries = tally.latency.count();
        Reading {
            seconds,
            published: backend.publisher.published() - self.published,
            deliveries,
            deliveries_per_s: deliveries as f64 / seconds,
            lost: tally.lost,
            polls: tally.polls,
            closed: tally.closed,
            close_code: tally.close_code,
            p50_ms: tally.latency.percentile_ms(0.5),
            p99_ms: tally.latency.percentile_ms(0.99),
            cpu_s,
            cpu_s_per_million: cpu_s / deliveries as f64 * 1e6,
            cpu_us_per_poll: (tally.polls > 0).then(|| cpu_s / tally.polls as f64 * 1e6),
            cpu_share: cpu_s / seconds,
            load_cpu_share: (self.load.cpu_seconds() - self.load_cpu) / seconds,
        }
    }
}
