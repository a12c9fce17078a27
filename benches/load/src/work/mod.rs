//! The works: each opens its clients, measures, closes them, and answers with one JSON object.

mod ask;
mod ceiling;
mod fanout;
mod idle;
mod polled;
mod stalled;
mod storm;
mod streams;
mod topics;
mod used;

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backend::Backend;
use crate::fleet::{Fleet, Target};
use crate::meter::{Meter, Reading};
use crate::publisher::{Destination, Plan};
use crate::stamp::Clock;

/// Opened and closed before the base is taken, so that what a server allocates once is not counted per connection.
const WARMING: usize = 20;

/// One line of stdin.
#[derive(Deserialize)]
#[serde(tag = "work", rename_all = "lowercase")]
pub enum Work {
    Fanout(fanout::Fanout),
    Ceiling(ceiling::Ceiling),
    Idle(idle::Idle),
    Storm(storm::Storm),
    Stalled(stalled::Stalled),
    Polled(polled::Polled),
    Ask(ask::Ask),
    Streams(streams::Streams),
    Topics(topics::Topics),
    Used(used::Used),
}

/// The server under test.
#[derive(Deserialize)]
pub struct Server {
    /// It and its descendants are measured.
    pub pid: u32,
    pub target: Target,
    /// How an event reaches it.
    pub publish: Destination,
}

/// Events at an even pace, and for how long they are measured.
#[derive(Deserialize)]
pub struct Pace {
    /// Events per second.
    rate: f64,
    /// Bytes of each event's data.
    size: usize,
    warm_s: f64,
    seconds: f64,
}

impl Pace {
    /// Publishes from now on, and measures after the first `warm_s`.
    fn measure(
        &self,
        server: &Server,
        fleet: &mut Fleet,
        backend: &Backend,
    ) -> io::Result<Reading> {
        backend.publisher.publish(Plan {
            destination: server.publish.clone(),
            rate: self.rate,
            size: self.size,
        });
        fleet.turn(Duration::from_secs_f64(self.warm_s))?;
        let meter = Meter::start(server.pid, fleet, backend);
        fleet.turn(Duration::from_secs_f64(self.seconds))?;
        Ok(meter.read(fleet, backend))
    }
}

impl Work {
    pub fn run(&self, backend: &Backend, clock: Clock) -> io::Result<Value> {
        match self {
            Work::Fanout(work) => to_json(work.run(backend, clock)),
            Work::Ceiling(work) => to_json(work.run(backend, clock)),
            Work::Idle(work) => to_json(work.run(clock)),
            Work::Storm(work) => to_json(work.run(clock)),
            Work::Stalled(work) => to_json(work.run(backend, clock)),
            Work::Polled(work) => to_json(work.run(backend, clock)),
            Work::Ask(work) => to_json(work.run()),
            Work::Streams(work) => to_json(work.run(backend, clock)),
            Work::Topics(work) => to_json(work.run(backend, clock)),
            Work::Used(work) => to_json(Ok(work.run())),
        }
    }
}

fn to_json(result: io::Result<impl Serialize>) -> io::Result<Value> {
    serde_json::to_value(result?).map_err(io::Error::other)
}
