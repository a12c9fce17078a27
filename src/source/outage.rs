//! When clients learn that a source has lost its backend, and what operators read of it.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use crate::hub::Publisher;
use crate::telemetry::Telemetry;

/// Different details of one outage that are logged.
const MOST_LOGGED: usize = 4;

/// What is wrong: a word for clients, and what operators get beside it.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// For `state.why`.
    pub(crate) why: &'static str,
    /// What came instead, or did not come.
    pub(crate) detail: Cow<'static, str>,
}

impl Trouble {
    /// This word, with this detail.
    pub(crate) fn new(why: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        Trouble { why, detail }
    }
}

/// Says `stale` once per outage, at its due time, whatever its source is waiting for then.
pub(crate) struct Outage {
    topic: Publisher,
    telemetry: Arc<Telemetry>,
    due: Option<(Instant, Trouble)>,
    /// When waiting clients are answered without an answer of the backend.
    answer_at: Option<Instant>,
    is_told: bool,
    /// What is in the log.
    logged: Vec<Cow<'static, str>>,
}

impl Outage {
    /// No outage.
    pub(crate) fn new(topic: Publisher, telemetry: Arc<Telemetry>) -> Self {
        Outage {
            topic,
            telemetry,
            due: None,
            answer_at: None,
            is_told: false,
            logged: Vec::new(),
        }
    }

    /// Clients are notified at `due`, or earlier where that was said before, unless it is over by then.
    pub(crate) fn tell_at(&mut self, due: Instant, trouble: Trouble) {
        if self.is_told {
            return self.tell(trouble);
        }
        let due = match &self.due {
            Some((earlier, _)) => due.min(*earlier),
            None => due,
        };
        self.due = Some((due, trouble));
    }

    /// A better reason for what falls due, or was sent.
    pub(crate) fn explain(&mut self, trouble: Trouble) {
        if self.is_told {
            return self.tell(trouble);
        }
        if let Some((_, reason)) = &mut self.due {
            *reason = trouble;
        }
    }

    /// Clients are notified, if they have not been.
    pub(crate) fn tell(&mut self, trouble: Trouble) {
        self.due = None;
        self.answer_at = None;
        let Trouble { why, detail } = trouble;
        match std::mem::replace(&mut self.is_told, true) {
            false => self.topic.stale(why),
            true => self.topic.explain(why),
        }
        if self.logged.len() < MOST_LOGGED && !self.logged.contains(&detail) {
            let route = self.topic.route();
            let (route, upstream) = (&route.name, &route.upstream.name);
            self.telemetry
                .sources
                .source_stale(route, upstream, why, &detail);
            self.logged.push(detail);
        }
    }

    /// The backend answers.
    pub(crate) fn end(&mut self) {
        self.due = None;
        self.answer_at = None;
        self.logged = Vec::new();
        if std::mem::take(&mut self.is_told) {
            let route = &self.topic.target().route.name;
            self.telemetry.sources.source_recovered(route);
        }
        self.topic.live();
    }

    /// No subscriber wants to know: nothing falls due.
    pub(crate) fn rest(&mut self) {
        self.due = None;
        self.answer_at = None;
    }

    /// A subscriber wants to know again, and is answered at this time at the latest.
    pub(crate) fn answer_at(&mut self, time: Instant) {
        self.answer_at = Some(time);
    }

    /// Does the work, and notifies clients meanwhile of what falls due.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let told_at = self.due.as_ref().map(|(due, _)| *due);
            let Some(due) = told_at.into_iter().chain(self.answer_at).min() else {
                return work.await;
            };
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep_until(due) => {}
            }
            match self.due.take_if(|(due, _)| *due <= Instant::now()) {
                Some((_, trouble)) => self.tell(trouble),
                None => {
                    self.answer_at = None;
                    self.topic.unsure();
                }
            }
        }
    }
}
