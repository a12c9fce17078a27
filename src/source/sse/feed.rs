//! Follows one stream: asks, reads, publishes, and asks again when it is lost.

mod opening;

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::backoff::Backoff;
use super::decode::{Decoder, SseEvent};
use super::recent::Recent;
use super::resume::{Next, Resume};
use crate::config::{Source, Sse};
use crate::error::{Code, Error, ErrorKind};
use crate::event::{Data, Draft, End, GapWhy};
use crate::http::body::Body;
use crate::hub::{Feed, Fenced, Publication, Publisher};
use crate::source::answer::{self, AnswerFailure};
use crate::source::outage::{Outage, Trouble};
use crate::telemetry::{Span, Telemetry};
use crate::upstream::Upstreams;

/// A stream that is back sooner was never missed.
const UNMISSED: Duration = Duration::from_secs(1);

/// Makes a topic of a Server-Sent-Events stream.
pub(crate) struct SseFeed {
    /// The way to the backend.
    pub(crate) upstreams: Upstreams,
    /// What operators see.
    pub(crate) telemetry: Arc<Telemetry>,
}

impl Feed for SseFeed {
    fn run(self: Box<Self>, topic: Publisher) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let checkpoint = topic.checkpoint();
        let mut follower = Follower {
            outage: Outage::new(topic.clone(), self.telemetry.clone()),
            resume: Resume::new(topic.brought_id()),
            feed: *self,
            topic,
            backoff: Backoff::default(),
            recent: Recent::default(),
            retry: None,
            was_open: checkpoint
                .as_ref()
                .is_some_and(|checkpoint| checkpoint.was_open),
            is_to_take_over: checkpoint.is_some(),
            doubted_until: None,
            owed: None,
            opening: Span::default(),
            missing: Cow::Borrowed(""),
        };
        if let Some(checkpoint) = checkpoint {
            follower.go_on_from(checkpoint);
        }
        Box::pin(follower.follow())
    }
}

struct Follower {
    feed: SseFeed,
    topic: Publisher,
    outage: Outage,
    backoff: Backoff,
    recent: Recent,
    resume: Resume,
    /// The reconnection time that the stream set.
    retry: Option<Duration>,
    /// Clients know that the topic is live: from then on there is something to lose.
    was_open: bool,
    /// Another process has read this topic until now.
    is_to_take_over: bool,
    /// Nothing has come since a client's id was sent, and the stream was lost: nothing is missing if it has ids of its own. That
    /// is known with its first event; until then it is waited for one.
    doubted_until: Option<Instant>,
    /// A loss to be reported as soon as the stream goes on: it lasts until then.
    owed: Option<GapWhy>,
    /// The stream's span, as long as it is read.
    opening: Span,
    /// What came instead of a stream, for the log.
    missing: Cow<'static, str>,
}

/// Why reading ended.
enum Stop {
    /// Lost: to be asked for again.
    Lost(AnswerFailure),
    /// Its reader is gone, or was refused: to be asked for at once with another's credentials.
    Unread,
    /// The backend takes offence at the id that it was asked with.
    IdRefused(AnswerFailure),
    /// Over for good; the topic knows.
    Over,
}

/// What a stream's messages become in the log.
#[derive(Default)]
struct Drafts {
    events: Vec<Draft>,
    is_final: bool,
}

impl From<AnswerFailure> for Stop {
    fn from(failure: AnswerFailure) -> Self {
        Stop::Lost(failure)
    }
}

impl Follower {
    async fn follow(mut self) {
        loop {
            let failure = match self.stream().await {
                Stop::Unread => continue,
                Stop::Lost(failure) => {
                    self.resume.failed();
                    failure
                }
                Stop::IdRefused(failure) => match self.resume.refused() {
                    Next::AtOnce => continue,
                    Next::Later => failure,
                },
                Stop::Over => return,
            };
            let detail = std::mem::take(&mut self.missing);
            let trouble = Trouble::new(failure.why, detail);
            match self.was_open {
                true => self.outage.tell_at(Instant::now() + UNMISSED, trouble),
                false => self.outage.tell(trouble),
            }
            let roll = fastrand::f64();
            let wait = failure
                .asked_pause(roll)
                .unwrap_or_else(|| self.backoff.next(self.retry, roll));
            self.topic.set_lost(true);
            let topic = self.topic.clone();
            // While there is no subscriber, nothing is asked for.
            let wait = async {
                sleep(wait).await;
                topic.attended().await;
            };
            self.outage.during(wait).await;
        }
    }

    /// One stream from its request to its end.
    async fn stream(&mut self) -> Stop {
        let topic = self.topic.clone();
        let asked = tokio::select! {
            // First, because it says which subscriber is the reader from now on.
            biased;
            asked = self.ask() => asked,
            () = topic.reader_gone() => return Stop::Unread,
        };
        let answer = match asked {
            Ok(answer) => answer,
            Err(stop) => return stop,
        };
        let head_at = Instant::now();
        match self.admit(answer.status(), answer.headers()).await {
            Ok(()) => {}
            Err(stop) => return stop,
        }
        self.topic.set_lost(false);
        if self.go_on(head_at).await.is_err() {
            return Stop::Over;
        }
        let route = self.topic.route();
        let open = self.feed.telemetry.sources.stream_opened(&route.name);
        let begun = Instant::now();
        let mut has_delivered = false;
        let stop = tokio::select! {
            biased;
            () = topic.reader_gone() => Stop::Unread,
            stop = self.read(answer.into_body(), &mut has_delivered) => stop,
        };
        drop(open);
        self.opening = Span::default();
        self.backoff.stream_ended(begun.elapsed(), has_delivered);
        if !has_delivered {
            self.resume.strike();
        }
        stop
    }

    /// A pool's stream may be another's to read.
    async fn refused(&mut self, end: End) -> Stop {
        match self.topic.may_ask_as_another(&end) {
            true => Stop::Unread,
            false => self.finish(end).await,
        }
    }

    /// Reads until the stream is lost, or over.
    async fn read(&mut self, mut body: Body, has_delivered: &mut bool) -> Stop {
        let mut decoder = Decoder::new(self.resume.shown().cloned());
        let mut messages = Vec::new();
        loop {
            let route = self.topic.route();
            let Some(Source::Sse(sse)) = &route.source else {
                return self.changed().into();
            };
            let frame = timeout(sse.idle_timeout, body.frame());
            let chunk = match self.while_doubted(frame).await {
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                // EventSource takes the end of a stream for a loss, however clean it is.
                Ok(None) => {
                    self.missing = "the backend ended the stream".into();
                    return AnswerFailure::new(answer::DOWN).into();
                }
                Ok(Some(Err(error))) => return self.miss(error).into(),
                Err(_) => {
                    return self
                        .fail(ErrorKind::Timeout, "the stream fell silent")
                        .into();
                }
            };
            self.topic.live();
            let fed = decoder.feed(&chunk, &mut messages);
            if let Some(first) = messages.first() {
                if self.dispel(first.has_own_id).await.is_err() {
                    return Stop::Over;
                }
                self.resume.has_come();
            }
            if let Some(id) = decoder.own_id() {
                self.resume.set(id.cloned());
            }
            self.retry = decoder.retry().or(self.retry);
            *has_delivered |= !messages.is_empty();
            let drafts = self.drafts(&mut messages, sse, route.replay.events);
            if !drafts.events.is_empty() {
                let mut span = self.feed.telemetry.traces.trace_own("read", &route.name);
                span.link(&self.opening);
                let events = Publication::Events(drafts.events);
                if self.topic.publish(events, span.cause()).await.is_err() {
                    return Stop::Over;
                }
            }
            if drafts.is_final {
                return self.finish(closed()).await;
            }
            if let Err(too_large) = fed {
                return self.give_up(too_large.id).await;
            }
        }
    }

    /// What the messages become; nothing after one that ends the stream for good.
    fn drafts(&mut self, messages: &mut Vec<SseEvent>, sse: &Sse, replay: usize) -> Drafts {
        let mut drafts = Drafts::default();
        for mut message in messages.drain(..) {
            let upstream = message.name.take();
            let upstream = upstream.as_deref().unwrap_or("message");
            message.name = match sse.events.get(upstream).map_or(upstream, String::as_str) {
                "message" => None,
                name => Some(Arc::from(name)),
            };
            // By the client's name: what another process has read is known by no other.
            if self.recent.is_repeated(&message, replay) {
                continue;
            }
            drafts.is_final = sse.final_events.iter().any(|last| last == upstream);
            drafts.events.push(Draft {
                name: message.name,
                id: message.id,
                has_own_id: message.has_own_id,
                data: Data::classify(message.data),
                change: None,
            });
            if drafts.is_final {
                break;
            }
        }
        drafts
    }

    /// Waits for the stream's next bytes; reports meanwhile the loss that is doubtful, if that falls due.
    async fn while_doubted<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        if let Some(until) = self.doubted_until {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep_until(until) => {}
            }
            // Where the topic is over by now, what comes next cannot be published either.
            let _ends_later = self.dispel(false).await;
        }
        work.await
    }

    /// It is known whether something is missing.
    ///
    /// # Errors
    /// The topic is over.
    async fn dispel(&mut self, is_resumed: bool) -> Result<(), Fenced> {
        match self.doubted_until.take() {
            Some(_) if !is_resumed => self.lose(GapWhy::UpstreamReconnect).await,
            _ => Ok(()),
        }
    }

    /// Something is lost for good.
    async fn lose(&self, why: GapWhy) -> Result<(), Fenced> {
        self.topic.publish(Publication::Gap(why), None).await
    }

    /// Leaves a stream with an event above the limit, so that it is not met again: the stream is
    /// resumed after that event where its id is known, else anew, and then the loss lasts until it
    /// goes on.
    async fn give_up(&mut self, id: Option<Arc<str>>) -> Stop {
        self.resume.has_come();
        self.resume.set(id);
        match self.resume.sent() {
            Some(_) if self.lose(GapWhy::TooLarge).await.is_err() => return Stop::Over,
            Some(_) => {}
            None => self.owed = Some(GapWhy::TooLarge),
        }
        self.fail(ErrorKind::TooLarge, "an event above the limit")
            .into()
    }

    /// Ends the topic.
    async fn finish(&mut self, end: End) -> Stop {
        if let Some(why) = self.owed.take()
            && self.lose(why).await.is_err()
        {
            return Stop::Over;
        }
        self.topic.end(end);
        Stop::Over
    }

    /// Counts what broke.
    fn fail(&mut self, kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> AnswerFailure {
        let error = Error::upstream(kind, detail);
        let upstream = &self.topic.route().upstream.name;
        self.feed
            .telemetry
            .upstreams
            .upstream_failed(upstream, &error);
        self.miss(error)
    }

    /// What broke is counted already.
    fn miss(&mut self, error: Error) -> AnswerFailure {
        let failure = AnswerFailure::from(&error);
        self.missing = error.detail;
        failure
    }

    /// The route reads no stream any more; the topic goes with its last subscriber.
    fn changed(&mut self) -> AnswerFailure {
        self.missing = "the route is no stream any more".into();
        AnswerFailure::new(answer::INVALID)
    }
}

/// The backend has said what it had to say.
fn closed() -> End {
    End {
        code: Code::UpstreamClosed,
        status: Code::UpstreamClosed.status(),
        retry_ms: None,
        is_final: true,
    }
}
