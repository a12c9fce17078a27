//! Events at an even pace to many clients.

use std::io;
use std::time::Duration;

use serde::Deserialize;

use super::Server;
use crate::backend::Backend;
use crate::fleet::Fleet;
use crate::meter::{Meter, Reading};
use crate::publisher::Plan;
use crate::stamp::Clock;

#[derive(Deserialize)]
pub struct Fanout {
    server: Server,
    clients: usize,
    /// Events per second.
    rate: f64,
    /// Bytes of each event's data.
    size: usize,
    warm_s: f64,
    seconds: f64,
}

impl Fanout {
    pub fn run(&self, backend: &Backend, clock: Clock) -> io::Result<Reading> {
        let mut fleet = Fleet::new(&self.server.target, clock)?;
        fleet.open(self.clients)?;
        backend.publisher.publish(Plan {
            destination: self.server.publish.clone(),
            rate: self.rate,
            size: self.size,
        });
        fleet.turn(Duration::from_secs_f64(self.warm_s))?;
        let meter = Meter::start(self.server.pid, &mut fleet, backend);
        fleet.turn(Duration::from_secs_f64(self.seconds))?;
        let reading = meter.read(&fleet, backend);
        backend.publisher.stop();
        Ok(reading)
    }
}
