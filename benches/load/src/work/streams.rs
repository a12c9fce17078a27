//! Event streams that a proxy passes through: one of the backend's for each client.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Pace, Server, WARMING};
use crate::backend::Backend;
use crate::fleet::Fleet;
use crate::meter::Reading;
use crate::process::Tree;
use crate::stamp::Clock;

#[derive(Deserialize)]
pub struct Streams {
    server: Server,
    clients: usize,
    /// Every event goes to every client.
    #[serde(flatten)]
    pace: Pace,
}

#[derive(Serialize)]
pub struct Passed {
    #[serde(flatten)]
    reading: Reading,
    /// With the streams running.
    bytes_per_client: f64,
}

impl Streams {
    pub fn run(&self, backend: &Backend, clock: Clock) -> io::Result<Passed> {
        let tree = Tree::of(self.server.pid);
        let mut warming = Fleet::new(&self.server.target, clock)?;
        warming.open(WARMING)?;
        drop(warming);
        let mut fleet = Fleet::new(&self.server.target, clock)?;
        fleet.turn(Duration::from_millis(500))?;
        let base_bytes = tree.pss_bytes();
        fleet.open(self.clients)?;
        let reading = self.pace.measure(&self.server, &mut fleet, backend)?;
        let bytes = tree.pss_bytes();
        backend.publisher.stop();
        Ok(Passed {
            reading,
            bytes_per_client: (bytes as f64 - base_bytes as f64) / self.clients as f64,
        })
    }
}
