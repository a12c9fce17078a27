//! When clients are told that a source has lost its backend, and what operators read of it.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use crate::hub::Publisher;
use crate::telemetry::Telemetry;

/// Different details of one outage that are logged.
const MOST_LOGGED: usize = 4;

/// What is wrong: a word for clients, and what operators are told beside it.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// For `state.why`.
    pub why: &'static str,
    /// What came instead, or did not come.
    pub detail: Cow<'static, str>,
}

impl Trouble {
    /// This word, with this detail.
    pub fn new(why: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        Trouble { why, detail }
    }
}

/// Says `stale` once per outage, at its due time, whatever its source is waiting for then.
pub struct Outage {
    topic: Publisher,
    telemetry: Arc<Telemetry>,
    due: Option<(Instant, Trouble)>,
    is_told: bool,
    /// What is in the log.
    logged: Vec<Cow<'static, str>>,
}

impl Outage {
    /// No outage.
    pub fn new(topic: Publisher, telemetry: Arc<Telemetry>) -> Self {
        Outage {
            topic,
            telemetry,
            due: None,
            is_told: false,
            logged: Vec::new(),
        }
    }

    /// Clients are told at `due`, or earlier where that was said before, unless it is over by then.
    pub fn tell_at(&mut self, due: Instant, trouble: Trouble) {
        if self.is_told {
            return self.tell(trouble);
        }
        let due = match &self.due {
            Some((earlier, _)) => due.min(*earlier),
            None => due,
        };
        self.due = Some((due, trouble));
    }

    /// A better reason for what falls due, or was told.
    pub fn explain(&mut self, trouble: Trouble) {
        if self.is_told {
            return self.tell(trouble);
        }
        if let Some((_, reason)) = &mut self.due {
            *reason = trouble;
        }
    }

    /// Clients are told, if they have not been.
    pub fn tell(&mut self, trouble: Trouble) {
        self.due = None;
        let Trouble { why, detail } = trouble;
        match std::mem::replace(&mut self.is_told, true) {
            false => self.topic.stale(why),
            true => self.topic.explain(why),
        }
        if self.logged.len() < MOST_LOGGED && !self.logged.contains(&detail) {
            let route = self.topic.route();
            let (route, upstream) = (&route.name, &route.upstream.name);
            self.telemetry.source_stale(route, upstream, why, &detail);
            self.logged.push(detail);
        }
    }

    /// The backend answers.
    pub fn end(&mut self) {
        self.due = None;
        self.logged = Vec::new();
        if std::mem::take(&mut self.is_told) {
            let route = &self.topic.target().route.name;
            self.telemetry.source_recovered(route);
        }
        self.topic.live();
    }

    /// Does the work, and tells clients meanwhile if that falls due.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        if let Some((due, trouble)) = self.due.clone() {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep_until(due) => self.tell(trouble),
            }
        }
        work.await
    }
}
