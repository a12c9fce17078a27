//! Everybody connects at once.

use std::io;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Server;
use crate::fleet::Fleet;
use crate::process::Tree;
use crate::stamp::Clock;

#[derive(Deserialize)]
pub struct Storm {
    server: Server,
    clients: usize,
}

#[derive(Serialize)]
pub struct Survived {
    seconds: f64,
    handshakes_per_s: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    cpu_us_per_handshake: f64,
    load_cpu_share: f64,
}

impl Storm {
    pub fn run(&self, clock: Clock) -> io::Result<Survived> {
        let (server, load) = (Tree::of(self.server.pid), Tree::of(std::process::id()));
        let mut fleet = Fleet::new(&self.server.target, clock)?;
        let (server_before, load_before) = (server.cpu_seconds(), load.cpu_seconds());
        let began = Instant::now();
        fleet.open_at_once(self.clients)?;
        let seconds = began.elapsed().as_secs_f64();
        let handshakes = &fleet.tally.handshakes;
        Ok(Survived {
            seconds,
            handshakes_per_s: self.clients as f64 / seconds,
            p50_ms: handshakes.percentile_ms(0.5),
            p99_ms: handshakes.percentile_ms(0.99),
            cpu_us_per_handshake: (server.cpu_seconds() - server_before) / self.clients as f64
                * 1e6,
            load_cpu_share: (load.cpu_seconds() - load_before) / seconds,
        })
    }
}
