//! Events in turn to many topics, whose subscribers share connections; meanwhile newcomers come.

use std::io;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Pace, Server};
use crate::backend::Backend;
use crate::fleet::Fleet;
use crate::meter::Reading;
use crate::stamp::Clock;

/// Newcomers' pace.
const JOIN: Duration = Duration::from_millis(20);
/// Until the server has parted from its clients, and no longer asks for streams that end.
const LEAVE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
pub struct Topics {
    server: Server,
    clients: usize,
    /// On all topics together.
    #[serde(flatten)]
    pace: Pace,
    newcomers: u32,
}

#[derive(Serialize)]
pub struct Found {
    #[serde(flatten)]
    reading: Reading,
    /// From `connect` until all subscriptions of a newcomer are answered.
    join_p50_ms: Option<f64>,
    join_p99_ms: Option<f64>,
}

impl Topics {
    pub fn run(&self, backend: &Backend, clock: Clock) -> io::Result<Found> {
        let mut fleet = Fleet::new(&self.server.target, clock)?;
        fleet.open(self.clients)?;
        let reading = self.pace.measure(&self.server, &mut fleet, backend)?;
        fleet.tally.joined.clear();
        for _ in 0..self.newcomers {
            fleet.connect(None)?;
            fleet.turn(JOIN)?;
        }
        fleet.turn(Duration::from_millis(500))?;
        backend.publisher.stop();
        let found = Found {
            reading,
            join_p50_ms: fleet.tally.joined.percentile_ms(0.5),
            join_p99_ms: fleet.tally.joined.percentile_ms(0.99),
        };
        drop(fleet);
        thread::sleep(LEAVE);
        backend.publisher.hang_up();
        Ok(found)
    }
}
