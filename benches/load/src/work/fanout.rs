//! Events at an even pace to many clients.

use std::io;

use serde::Deserialize;

use super::{Pace, Server};
use crate::backend::Backend;
use crate::fleet::Fleet;
use crate::meter::Reading;
use crate::stamp::Clock;

#[derive(Deserialize)]
pub struct Fanout {
    server: Server,
    clients: usize,
    #[serde(flatten)]
    pace: Pace,
}

impl Fanout {
    pub fn run(&self, backend: &Backend, clock: Clock) -> io::Result<Reading> {
        let mut fleet = Fleet::new(&self.server.target, clock)?;
        fleet.open(self.clients)?;
        let reading = self.pace.measure(&self.server, &mut fleet, backend)?;
        backend.publisher.stop();
        Ok(reading)
    }
}
