//! Polls one document in its rhythm, and publishes what changed.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};

use super::compare::{Untaken, aside, compare};
use super::fetch::{Fetched, Miss, Validators, fetch};
use super::pace::{Next, PollPace, PollRound};
use crate::config::{Poll, Route, Source};
use crate::error::{Error, ErrorKind};
use crate::event::{Cause, Draft, GapWhy};
use crate::hub::{DocumentChange, Feed, Fenced, Publication, Publisher};
use crate::source::answer::{self, AnswerFailure};
use crate::source::diff::{ComparedDocument, DiffOutcome, Doubt};
use crate::source::outage::{Outage, Trouble};
use crate::telemetry::Telemetry;
use crate::upstream::Upstreams;

/// So many 304s in a row, and the document is fetched whole once: a backend may forget to change
/// its ETag with the document.
const TRUSTED_304S: u32 = 100;
/// A reload that shortens the interval takes effect within this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A client that comes to an idle topic is answered within a second: a little before the session does so by itself, so that the
/// state is known by then.
const ANSWER_WITHIN: Duration = Duration::from_millis(900);
/// Between two log lines about a list that keeps losing most of its items and getting them back.
const REMINDER: Duration = Duration::from_secs(600);

/// Makes a topic of a polled endpoint.
pub(crate) struct PollFeed {
    /// The way to the backend.
    pub(crate) upstreams: Upstreams,
    /// What operators see.
    pub(crate) telemetry: Arc<Telemetry>,
}

impl Feed for PollFeed {
    fn run(self: Box<Self>, topic: Publisher) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let checkpoint = topic.checkpoint();
        let document = checkpoint
            .as_ref()
            .and_then(|checkpoint| checkpoint.document.clone());
        // What was asked for with it is not known here: the first poll brings a whole document.
        let held = document.and_then(|text| {
            Some(Held {
                document: ComparedDocument::parse(text).ok()?,
                validators: Validators::default(),
            })
        });
        let poller = Poller {
            outage: Outage::new(topic.clone(), self.telemetry.clone()),
            feed: *self,
            topic,
            pace: PollPace::default(),
            has_begun: held.is_some(),
            // A topic that was idle there too is asked for as soon as a subscriber comes.
            is_inherited: checkpoint.is_some_and(|checkpoint| checkpoint.was_open),
            has_rested: false,
            held,
            not_modified: 0,
            is_mass_delete: false,
            is_oversized: false,
            doubt: None,
            mass_delete_logged: None,
            missing: Cow::Borrowed(""),
        };
        Box::pin(poller.poll())
    }
}

struct Poller {
    feed: PollFeed,
    topic: Publisher,
    outage: Outage,
    pace: PollPace,
    /// The head of a document has been seen once. From then on only a whole document is good news.
    has_begun: bool,
    held: Option<Held>,
    /// Another process has polled it until now.
    is_inherited: bool,
    /// The topic was idle for a while, and no poll has succeeded since.
    has_rested: bool,
    /// 304s since the last whole answer.
    not_modified: u32,
    /// The last answer had lost most of its items, and was not believed.
    is_mass_delete: bool,
    /// The last answer was above the limit, and clients have been notified.
    is_oversized: bool,
    /// Why the last list could not be compared; it is in the log.
    doubt: Option<Doubt>,
    /// When the log last said that a list was doubted, unless that list was believed since.
    mass_delete_logged: Option<Instant>,
    /// What came instead of a document, for the log.
    missing: Cow<'static, str>,
}

/// The last good answer.
struct Held {
    document: ComparedDocument,
    validators: Validators,
}

impl Poller {
    async fn poll(mut self) {
        if self.is_inherited {
            self.fall_in().await;
        }
        loop {
            if !self.topic.is_attended() {
                self.rest().await;
            }
            let route = self.topic.route();
            let Some(Source::Poll(poll)) = &route.source else {
                return;
            };
            // A write that was seen before this request begins is covered by it.
            let _ = self.topic.refresh_asked().now_or_never();
            let started = Instant::now();
            let Some(round) = self.round(&route, poll).await else {
                return;
            };
            let finished = Instant::now();
            let next = self.pace.next(poll, round, fastrand::f64());
            match round {
                PollRound::Failed(failure) => {
                    let detail = std::mem::take(&mut self.missing);
                    let trouble = Trouble::new(failure.why, detail);
                    let is_overdue = self.held.is_none() || self.pace.is_stale();
                    match is_overdue || self.has_rested {
                        true => self.outage.tell(trouble),
                        false => self.outage.explain(trouble),
                    }
                }
                PollRound::Changed | PollRound::Unchanged { .. } => {
                    self.has_rested = false;
                    self.outage.end();
                    let overdue = self.pace.overdue(poll, finished - started);
                    let trouble = Trouble::new(answer::TIMEOUT, "no answer for three intervals");
                    self.outage.tell_at(finished + overdue, trouble);
                }
            }
            self.wait(next, started, finished, &route).await;
        }
    }

    /// The topic is idle: the backend is left alone until a subscriber comes, which then waits for its answer.
    async fn rest(&mut self) {
        self.has_rested = true;
        self.outage.rest();
        self.topic.rest();
        self.topic.attended().await;
        self.outage.answer_at(Instant::now() + ANSWER_WITHIN);
    }

    /// All topics come from the other process at about the same instant, and are not all polled at once.
    async fn fall_in(&mut self) {
        let route = self.topic.route();
        if let Some(Source::Poll(poll)) = &route.source {
            let next = Next {
                after_start: self.pace.interval(poll).mul_f64(fastrand::f64()),
                after_end: Duration::ZERO,
                may_refresh: true,
            };
            let now = Instant::now();
            self.wait(next, now, now, &route).await;
        }
    }

    /// Waits for the next round, for a write that was observed, or for what a reload leaves of the wait.
    async fn wait(&mut self, next: Next, started: Instant, finished: Instant, was: &Arc<Route>) {
        let mut due = (started + next.after_start).max(finished + next.after_end);
        while Instant::now() < due {
            let topic = self.topic.clone();
            let slice = async {
                tokio::select! {
                    () = sleep_until(due.min(Instant::now() + LOOK_AGAIN)) => false,
                    () = topic.refresh_asked(), if next.may_refresh => true,
                }
            };
            let is_asked = match self.topic.is_attended() {
                true => self.outage.during(slice).await,
                // No client is there to be notified of what is due.
                false => slice.await,
            };
            if is_asked {
                return;
            }
            let route = self.topic.route();
            if let Some(Source::Poll(poll)) = &route.source
                && next.may_refresh
                && !Arc::ptr_eq(&route, was)
            {
                due = due.min(started + self.pace.interval(poll));
            }
        }
    }

    /// One poll and what comes of it; `None` when the topic is over.
    async fn round(&mut self, route: &Route, poll: &Poll) -> Option<PollRound> {
        let validators = self
            .held
            .as_ref()
            .map(|held| held.validators.clone())
            .filter(|_| self.not_modified < TRUSTED_304S);
        let span = self.feed.telemetry.traces.trace_own("poll", &route.name);
        let fetched = loop {
            let begun = || {
                if !std::mem::replace(&mut self.has_begun, true) {
                    self.topic.opened();
                }
            };
            let fetching = fetch(
                &self.feed.upstreams,
                &self.topic,
                (route, poll, &span),
                validators.as_ref(),
                begun,
            );
            let end = match self.outage.during(fetching).await {
                Ok(Fetched::Refused(end)) => end,
                Ok(fetched) => break fetched,
                Err(Miss::Failed(failure, detail)) => {
                    self.missing = detail;
                    return Some(PollRound::Failed(failure));
                }
                Err(Miss::Unusable(error)) => return self.unusable(route, error).await,
            };
            if !self.topic.may_ask_as_another(&end) {
                self.topic.end(end);
                return None;
            }
        };
        match fetched {
            Fetched::NotModified { max_age } => {
                self.not_modified += 1;
                self.is_mass_delete = false;
                self.is_oversized = false;
                Some(PollRound::Unchanged { max_age })
            }
            Fetched::Nothing => {
                self.is_mass_delete = false;
                Some(PollRound::Unchanged { max_age: None })
            }
            Fetched::Body {
                body,
                validators,
                max_age,
                reserved: _reserved,
            } => {
                self.not_modified = 0;
                let taken = self.take(body, validators, (route, poll), span.cause());
                match taken.await {
                    Ok(true) => Some(PollRound::Changed),
                    Ok(false) => Some(PollRound::Unchanged { max_age }),
                    Err(Untaken::Unusable(error)) => self.unusable(route, error).await,
                    Err(Untaken::Fenced) => None,
                }
            }
            // Dealt with above.
            Fetched::Refused(_) => None,
        }
    }

    /// Takes in a whole body and publishes what changed; whether anything did.
    async fn take(
        &mut self,
        body: Bytes,
        validators: Validators,
        (route, poll): (&Route, &Poll),
        cause: Option<Arc<Cause>>,
    ) -> Result<bool, Untaken> {
        let Some(held) = &self.held else {
            let parsing = aside(body.len(), move || ComparedDocument::parse(body));
            let document = parsing.await?;
            let whole = DocumentChange::Snapshot;
            self.publish(&document, whole, cause).await?;
            self.hold(document, validators);
            return Ok(true);
        };
        let comparing = compare(&held.document, body, poll, !route.filter.is_empty());
        let (document, outcome) = comparing.await?;
        let was_mass_delete = std::mem::take(&mut self.is_mass_delete);
        let changed = match outcome {
            DiffOutcome::Same => false,
            DiffOutcome::Events(drafts) => {
                self.log_doubt(None);
                self.publish_events(&document, drafts, cause).await?
            }
            DiffOutcome::MassDelete(drafts) if was_mass_delete => {
                self.mass_delete_logged = None;
                self.publish_events(&document, drafts, cause).await?
            }
            DiffOutcome::MassDelete(drafts) => {
                // The old validators stay too, so that the next poll brings a body again.
                self.is_mass_delete = true;
                self.log_mass_delete(drafts.len());
                return Ok(true);
            }
            DiffOutcome::Whole(doubt) => {
                self.log_doubt(doubt);
                let whole = DocumentChange::Snapshot;
                self.publish(&document, whole, cause).await?;
                true
            }
        };
        self.hold(document, validators);
        Ok(changed)
    }

    /// Publishes the events of a new document; with none, only late joiners see what differs.
    async fn publish_events(
        &self,
        document: &ComparedDocument,
        drafts: Vec<Draft>,
        cause: Option<Arc<Cause>>,
    ) -> Result<bool, Fenced> {
        let is_change = !drafts.is_empty();
        let change = DocumentChange::Events(drafts);
        self.publish(document, change, cause).await?;
        Ok(is_change)
    }

    async fn publish(
        &self,
        document: &ComparedDocument,
        change: DocumentChange,
        cause: Option<Arc<Cause>>,
    ) -> Result<(), Fenced> {
        let document = Publication::Document(document.bytes().clone(), change);
        self.topic.publish(document, cause).await
    }

    fn hold(&mut self, document: ComparedDocument, validators: Validators) {
        self.is_oversized = false;
        self.held = Some(Held {
            document,
            validators,
        });
    }

    /// A list that cannot be compared is in the log once, until it is another or can be.
    fn log_doubt(&mut self, doubt: Option<Doubt>) {
        if let Some(doubt) = doubt.filter(|_| self.doubt != doubt) {
            let route = &self.topic.target().route.name;
            let telemetry = &self.feed.telemetry;
            telemetry.sources.list_not_comparable(route, doubt.as_str());
        }
        self.doubt = doubt;
    }

    /// A list that comes and goes is in the log once in a while.
    fn log_mass_delete(&mut self, deleted: usize) {
        let last = self.mass_delete_logged;
        if last.is_none_or(|last| last.elapsed() >= REMINDER) {
            let route = &self.topic.target().route.name;
            self.feed
                .telemetry
                .sources
                .mass_delete_doubted(route, deleted);
            self.mass_delete_logged = Some(Instant::now());
        }
    }

    /// Counts an answer that is none. What clients hold stays as it is; a document too large to be
    /// read is a loss, which they get once. `None` when the topic is over.
    async fn unusable(&mut self, route: &Route, error: Error) -> Option<PollRound> {
        self.feed
            .telemetry
            .upstreams
            .upstream_failed(&route.upstream.name, &error);
        if error.kind == ErrorKind::TooLarge && !std::mem::replace(&mut self.is_oversized, true) {
            let gap = Publication::Gap(GapWhy::TooLarge);
            self.topic.publish(gap, None).await.ok()?;
        }
        self.missing = error.detail;
        Some(PollRound::Failed(match error.kind {
            ErrorKind::Timeout => AnswerFailure::new(answer::TIMEOUT),
            _ => AnswerFailure::new(answer::INVALID),
        }))
    }
}
