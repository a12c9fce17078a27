//! What a connection takes that says nothing.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Server, WARMING};
use crate::fleet::Fleet;
use crate::process::Tree;
use crate::stamp::Clock;

#[derive(Deserialize)]
pub struct Idle {
    server: Server,
    clients: usize,
    settle_s: f64,
}

#[derive(Serialize)]
pub struct Taken {
    base_bytes: u64,
    bytes: u64,
    bytes_per_connection: f64,
}

impl Idle {
    pub fn run(&self, clock: Clock) -> io::Result<Taken> {
        let tree = Tree::of(self.server.pid);
        let mut warming = Fleet::new(&self.server.target, clock)?;
        warming.open(WARMING)?;
        drop(warming);
        let mut fleet = Fleet::new(&self.server.target, clock)?;
        fleet.turn(Duration::from_secs(1))?;
        let base_bytes = tree.pss_bytes();
        fleet.open(self.clients)?;
        fleet.turn(Duration::from_secs_f64(self.settle_s))?;
        let bytes = tree.pss_bytes();
        if fleet.ready() < self.clients {
            return Err(io::Error::other("the server closed idle connections"));
        }
        Ok(Taken {
            base_bytes,
            bytes,
            bytes_per_connection: (bytes as f64 - base_bytes as f64) / self.clients as f64,
        })
    }
}
