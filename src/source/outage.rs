//! When clients are told that a source has lost its backend.

use std::future::Future;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use crate::hub::Publisher;
use crate::telemetry::Telemetry;

/// Says `stale` once per outage, at its due time, whatever its source is waiting for then.
pub struct Outage {
    topic: Publisher,
    telemetry: Arc<Telemetry>,
    due: Option<(Instant, &'static str)>,
    is_told: bool,
}

impl Outage {
    /// No outage.
    pub fn new(topic: Publisher, telemetry: Arc<Telemetry>) -> Self {
        Outage {
            topic,
            telemetry,
            due: None,
            is_told: false,
        }
    }

    /// Clients are told at `due`, or earlier where that was said before, unless it is over by then.
    pub fn tell_at(&mut self, due: Instant, why: &'static str) {
        if !self.is_told {
            let due = self.due.map_or(due, |(earlier, _)| earlier.min(due));
            self.due = Some((due, why));
        }
    }

    /// A better reason for what falls due.
    pub fn explain(&mut self, why: &'static str) {
        if let Some((_, reason)) = &mut self.due {
            *reason = why;
        }
    }

    /// Clients are told, if they have not been.
    pub fn tell(&mut self, why: &'static str) {
        self.due = None;
        if !self.is_told {
            self.is_told = true;
            self.telemetry
                .source_stale(&self.topic.target().route.name, why);
            self.topic.stale(why);
        }
    }

    /// The backend answers.
    pub fn end(&mut self) {
        self.due = None;
        if std::mem::take(&mut self.is_told) {
            self.telemetry
                .source_recovered(&self.topic.target().route.name);
        }
        self.topic.live();
    }

    /// Does the work, and tells clients meanwhile if that falls due.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        if let Some((due, why)) = self.due {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep_until(due) => self.tell(why),
            }
        }
        work.await
    }
}
