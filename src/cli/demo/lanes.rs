//! The figures of the three lanes: what each way of watching costs the backend and its viewers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;

/// A way to watch the same list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Each viewer asks once a second.
    Polling,
    /// Each viewer holds an event stream.
    Sse,
    /// Viewers hold WebSockets; the sidecar polls for all of them.
    WebSocket,
}

/// Counters of one lane; they only grow, but for `streams` and `viewers`.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Requests that reached the backend.
    pub(crate) requests: AtomicU64,
    /// Event streams that the backend holds open.
    pub(crate) streams: AtomicU64,
    /// Body bytes that the backend sent.
    pub(crate) sent: AtomicU64,
    /// Simulated viewers present.
    pub(crate) viewers: AtomicU64,
    /// Changes that simulated viewers saw.
    seen: AtomicU64,
    /// Their ages in microseconds, added up.
    age_us: AtomicU64,
}

impl Meter {
    /// A simulated viewer saw a change that happened at this Unix time in milliseconds.
    pub(crate) fn saw(&self, changed_at: f64) {
        let age = (super::world::now_ms() - changed_at).max(0.0);
        self.seen.fetch_add(1, Relaxed);
        self.age_us.fetch_add((age * 1000.0) as u64, Relaxed);
    }
}

/// All three.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    polling: Meter,
    sse: Meter,
    websocket: Meter,
}

impl Lanes {
    /// One lane's counters.
    pub(crate) fn of(&self, lane: Lane) -> &Meter {
        match lane {
            Lane::Polling => &self.polling,
            Lane::Sse => &self.sse,
            Lane::WebSocket => &self.websocket,
        }
    }
}

/// One lane's figures over the time since the last look.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    viewers: u64,
    streams: u64,
    requests_per_second: f64,
    bytes_per_second: f64,
    deliveries_per_second: f64,
    /// Mean age of what arrived, milliseconds; absent when nothing arrived.
    age_ms: Option<f64>,
}

/// What the page receives twice a second.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    polling: Figures,
    sse: Figures,
    websocket: Figures,
}

/// Turns counters into rates.
#[derive(Debug)]
pub(crate) struct Observer {
    since: Instant,
    last: [Reading; 3],
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    requests: u64,
    sent: u64,
    seen: u64,
    age_us: u64,
}

impl Observer {
    /// Starts to look now.
    pub(crate) fn new(lanes: &Lanes) -> Self {
        Observer {
            since: Instant::now(),
            last: read_all(lanes),
        }
    }

    /// The rates since the last look.
    pub(crate) fn look(&mut self, lanes: &Lanes) -> Report {
        let took = self.since.elapsed().max(Duration::from_millis(1));
        let now = read_all(lanes);
        let [polling, sse, websocket] = [Lane::Polling, Lane::Sse, Lane::WebSocket].map(|lane| {
            figures(
                lanes.of(lane),
                self.last[lane as usize],
                now[lane as usize],
                took,
            )
        });
        *self = Observer {
            since: Instant::now(),
            last: now,
        };
        Report {
            polling,
            sse,
            websocket,
        }
    }
}

fn read_all(lanes: &Lanes) -> [Reading; 3] {
    [Lane::Polling, Lane::Sse, Lane::WebSocket].map(|lane| {
        let meter = lanes.of(lane);
        Reading {
            requests: meter.requests.load(Relaxed),
            sent: meter.sent.load(Relaxed),
            seen: meter.seen.load(Relaxed),
            age_us: meter.age_us.load(Relaxed),
        }
    })
}

fn figures(meter: &Meter, before: Reading, now: Reading, took: Duration) -> Figures {
    let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / took.as_secs_f64();
    let seen = now.seen.saturating_sub(before.seen);
    let age_us = now.age_us.saturating_sub(before.age_us);
    Figures {
        viewers: meter.viewers.load(Relaxed),
        streams: meter.streams.load(Relaxed),
        requests_per_second: rate(before.requests, now.requests),
        bytes_per_second: rate(before.sent, now.sent),
        deliveries_per_second: rate(before.seen, now.seen),
        age_ms: (seen > 0).then(|| age_us as f64 / seen as f64 / 1000.0),
    }
}
