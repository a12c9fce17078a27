//! Requests that a proxy passes through, one after the other on each of many connections.

use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Server;
use crate::asker::Askers;
use crate::process::Tree;

#[derive(Deserialize)]
pub struct Ask {
    server: Server,
    clients: usize,
    warm_s: f64,
    seconds: f64,
}

#[derive(Serialize)]
pub struct Answered {
    requests_per_s: f64,
    cpu_us_per_request: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    p999_ms: Option<f64>,
    cpu_share: f64,
    load_cpu_share: f64,
}

impl Ask {
    pub fn run(&self) -> io::Result<Answered> {
        let (server, load) = (Tree::of(self.server.pid), Tree::of(std::process::id()));
        let mut askers = Askers::open(&self.server.target, self.clients)?;
        askers.turn(Duration::from_secs_f64(self.warm_s))?;
        askers.latency.clear();
        let (server_before, load_before) = (server.cpu_seconds(), load.cpu_seconds());
        let began = Instant::now();
        askers.turn(Duration::from_secs_f64(self.seconds))?;
        let seconds = began.elapsed().as_secs_f64();
        let cpu_s = server.cpu_seconds() - server_before;
        let latency = &askers.latency;
        if latency.count() == 0 {
            return Err(io::Error::other("nothing was answered"));
        }
        Ok(Answered {
            requests_per_s: latency.count() as f64 / seconds,
            cpu_us_per_request: cpu_s / latency.count() as f64 * 1e6,
            p50_ms: latency.percentile_ms(0.5),
            p99_ms: latency.percentile_ms(0.99),
            p999_ms: latency.percentile_ms(0.999),
            cpu_share: cpu_s / seconds,
            load_cpu_share: (load.cpu_seconds() - load_before) / seconds,
        })
    }
}
