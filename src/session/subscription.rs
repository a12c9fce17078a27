//! One subscription of a session: what its client has, and what comes next.

mod deliver;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(super) use deliver::{BATCH_BYTES, FrameBatch, Traced};

use super::filter::Filter;
use super::listing::SubscriptionInfo;
use super::recovery::RecordedSubscription;
use crate::config::{Queue, Route, Slow, Source};
use crate::error::{Code, Refusal};
use crate::event::{End, Event, EventKind, GapWhy, Position};
use crate::hub::{Credentials, Joined, Phase, Subscriber};
use crate::json::Scalar;
use crate::policy::auth::Authenticated;
use crate::protocol::{Codec, Output, Tag};
use crate::telemetry::Meters;

/// How long a `sub` waits for the upstream's first response head before it is answered anyway.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Subscription {
    /// The number that the client knows; a moved subscription keeps its own.
    pub(crate) ch: u32,
    subscriber: Subscriber,
    route: Arc<Route>,
    meters: Arc<Meters>,
    filter: Option<Box<Filter>>,
    /// The user that has subscribed, where the route has a policy.
    admission: Option<Arc<Authenticated>>,
    /// The `sub` is not answered yet.
    unanswered: Option<Box<Unanswered>>,
    /// What goes out before the log.
    prelude: VecDeque<Arc<Event>>,
    paused: bool,
    /// What a pause held back is still to be sent.
    resuming: bool,
    /// `deliver` holds events back until then.
    held_until: Option<Instant>,
    /// What was read from the backend before was not awaited by this client: how long it took says nothing.
    awaits_since: std::time::Instant,
    /// Moved to a topic that has just begun: until then it is not called stale for that. Boxed because it is rare.
    settling_until: Option<Box<Instant>>,
}

struct Unanswered {
    id: Tag,
    at: Position,
    recovered: bool,
    until: Instant,
}

/// How a subscription goes on.
#[derive(Debug, PartialEq)]
pub(super) enum SubscriptionVerdict {
    /// Nothing more for now.
    Waits,
    /// There is more than this round had room for.
    HasMore,
    /// It was refused before it was answered; nothing has been said yet.
    Refused(Tag, End),
    /// Over; what led to it is out, the end itself is not.
    Over(End),
    /// The client lost something that its protocol cannot report.
    Lost(GapWhy),
}

impl Subscription {
    /// A subscription that a `sub` asked for, to be answered under this id.
    pub(crate) fn new(
        id: Tag,
        joined: Joined,
        route: Arc<Route>,
        filter: Option<Filter>,
        admission: Option<Arc<Authenticated>>,
        meters: Arc<Meters>,
        now: Instant,
    ) -> Self {
        let Joined {
            subscriber,
            at,
            recovered,
            prelude,
        } = joined;
        Subscription {
            ch: subscriber.ch(),
            subscriber,
            route,
            meters,
            filter: filter.map(Box::new),
            admission,
            unanswered: Some(Box::new(Unanswered {
                id,
                at,
                recovered,
                until: now + ANSWER_WITHIN,
            })),
            prelude: prelude.into(),
            paused: false,
            resuming: false,
            held_until: None,
            awaits_since: now.into_std(),
            settling_until: None,
        }
    }

    /// The route as the configuration in force has it.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The subscription's place in its topic.
    pub(crate) fn subscriber(&self) -> &Subscriber {
        &self.subscriber
    }

    /// The user that has subscribed.
    pub(crate) fn admission(&self) -> Option<&Arc<Authenticated>> {
        self.admission.as_ref()
    }

    /// The user that has subscribed, where this policy has admitted it.
    pub(crate) fn admitted_by(&self, auth: &str) -> Option<&Arc<Authenticated>> {
        let admission = self.admission.as_ref();
        admission.filter(|admission| *admission.found.auth.name == *auth)
    }

    /// The same person, with newer credentials.
    pub(crate) fn renew(&mut self, admission: Arc<Authenticated>, credentials: Credentials) {
        self.admission = Some(admission);
        self.subscriber.renew(credentials);
    }

    /// New pace, limits and policies.
    pub(crate) fn follow(&mut self, route: Arc<Route>, admission: Option<Arc<Authenticated>>) {
        self.route = route;
        self.admission = admission;
    }

    /// Goes on at another topic, under its old number.
    pub(crate) fn move_to(&mut self, mut joined: Joined, now: Instant) {
        joined.subscriber.take_over(&self.subscriber);
        self.subscriber = joined.subscriber;
        if self.paused {
            self.subscriber.pause();
        }
        self.prelude.extend(joined.prelude);
        self.settling_until = Some(Box::new(now + ANSWER_WITHIN));
        if let Some(unanswered) = &mut self.unanswered {
            unanswered.at = joined.at;
            unanswered.recovered = false;
        }
    }

    /// Holds everything but states.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
        self.subscriber.pause();
    }

    /// Goes on with what changed meanwhile.
    pub(crate) fn resume(&mut self, now: Instant) {
        if std::mem::take(&mut self.paused) {
            self.resuming = true;
            self.awaits_since = now.into_std();
        }
        self.subscriber.resume();
    }

    /// Where it begins, before anything is sent; `None` where its client first gets what newcomers get.
    pub(crate) fn begins_at(&self) -> Option<Position> {
        let at = self.subscriber.position();
        let is_plain = self.prelude.is_empty() && at.epoch == self.subscriber.head().epoch;
        is_plain.then_some(at)
    }

    /// Whether its client has missed something that is not kept any more; to be asked before anything is sent.
    pub(crate) fn has_lost(&self) -> bool {
        let is_gap = |event: &Arc<Event>| matches!(event.kind, EventKind::Gap { .. });
        self.prelude.iter().any(is_gap)
    }

    /// What is known of it when its client comes back, but for the event that has asked for it.
    pub(crate) fn record(&self) -> RecordedSubscription {
        RecordedSubscription {
            ch: self.ch,
            path: self.subscriber.target().url.clone(),
            age: self.route.replay.age,
            asked_by: None,
        }
    }

    /// What its client wants to see.
    pub(crate) fn wanted(&self) -> Vec<(String, Vec<Scalar>)> {
        let filter = self.filter.as_ref();
        filter.map_or_else(Vec::new, |filter| filter.wanted(&self.route))
    }

    /// What waits behind the cursor.
    pub(crate) fn waiting(&self) -> Queue {
        self.subscriber.waiting()
    }

    /// Where it stands, for the admin API.
    pub(crate) fn info(&self) -> SubscriptionInfo {
        SubscriptionInfo {
            ch: self.ch,
            route: self.route.name.clone(),
            path: self.subscriber.target().url.clone(),
            at: self.subscriber.position(),
            paused: self.paused,
        }
    }

    /// When it has something to do though nothing is published. Each of these is acted on, and is none any more, once
    /// [`Subscription::proceed`] is called after it: else its session would look again at once, for ever.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let unanswered = self.unanswered.as_ref().map(|unanswered| unanswered.until);
        let may_deliver = !self.paused && self.subscriber.is_behind();
        let held = self.held_until.filter(|_| may_deliver);
        [unanswered, held, self.settling_until.as_deref().copied()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether more waits for its client than this. What a pause held back is not its slowness.
    pub(crate) fn is_further_behind(&self, allowed: Queue) -> bool {
        let exempt = self.paused || self.resuming || self.unanswered.is_some();
        !exempt && self.subscriber.is_further_behind(allowed)
    }

    /// Whether a client that is too slow is closed for this one: as the route says; without words there is only the close, unless
    /// a document makes up for it.
    pub(crate) fn closes_when_slow(&self, codec: &dyn Codec) -> bool {
        match codec.has_words() {
            true => self.route.slow == Slow::Close,
            false => !self.is_polled(),
        }
    }

    /// Keeps nothing for a client that is too slow: when it reads on, it gets a gap.
    pub(crate) fn let_go(&mut self) {
        self.subscriber.let_go();
    }

    fn is_polled(&self) -> bool {
        matches!(self.route.source, Some(Source::Poll(_)))
    }

    /// Puts what comes next into the outbox.
    pub(crate) fn proceed(&mut self, desk: &mut FrameBatch<'_>) -> SubscriptionVerdict {
        if let Some(end) = self.subscriber.refusal() {
            return match &self.unanswered {
                Some(unanswered) => SubscriptionVerdict::Refused(unanswered.id.clone(), end),
                None => SubscriptionVerdict::Over(end),
            };
        }
        let settled = self.subscriber.settle();
        if !settled.is_empty() {
            if let Some(unanswered) = &mut self.unanswered {
                unanswered.at = self.subscriber.head();
            }
            self.prelude.extend(settled);
        }
        if let Some(unanswered) = &self.unanswered {
            match self.subscriber.phase() {
                Phase::Opening if desk.now < unanswered.until => return SubscriptionVerdict::Waits,
                Phase::Ended(end) if !unanswered.recovered && self.is_refusal(&end) => {
                    return SubscriptionVerdict::Refused(unanswered.id.clone(), end);
                }
                _ => {}
            }
        }
        if let Some(mut unanswered) = self.unanswered.take() {
            self.renew_snapshot(&mut unanswered);
            let ok = Output::Ok {
                id: &unanswered.id,
                sub: Some((self.ch, unanswered.at, unanswered.recovered)),
            };
            desk.say(&ok);
        }
        // Looked at before the log: what was published before an end is read before it is sent.
        let phase = self.subscriber.phase();
        let settles = self.settling_until.as_deref();
        let settles = settles.is_some_and(|until| desk.now < *until);
        if phase != Phase::Opening || !settles {
            self.settling_until = None;
            // That it is over says more than that it is stale.
            if self.paused || !matches!(phase, Phase::Ended(_)) {
                self.tell_state(desk);
            }
        }
        if self.paused {
            return SubscriptionVerdict::Waits;
        }
        if self.resuming {
            self.gather_net_change(&*desk.codec);
        }
        while let Some(event) = self.prelude.pop_front() {
            if let Some(why) = self.emit(&event, desk) {
                return SubscriptionVerdict::Lost(why);
            }
            if desk.is_full() {
                return SubscriptionVerdict::HasMore;
            }
        }
        self.prelude = VecDeque::new();
        if self.subscriber.is_behind() {
            let held = !matches!(phase, Phase::Ended(_)) && self.is_held(desk.now);
            if held {
                return SubscriptionVerdict::Waits;
            }
            let verdict = self.deliver(desk);
            if verdict != SubscriptionVerdict::Waits {
                return verdict;
            }
        }
        match phase {
            Phase::Ended(end) => SubscriptionVerdict::Over(end),
            Phase::Opening | Phase::Open => SubscriptionVerdict::Waits,
        }
    }

    /// The document may be another by now than when it joined: it waited for a poll. Then the old one is not sent.
    fn renew_snapshot(&mut self, unanswered: &mut Unanswered) {
        if let Some(last) = self.prelude.back_mut()
            && last.kind == EventKind::Snapshot
            && let Some(document) = self.subscriber.skip_to_document()
        {
            *last = document;
            unanswered.at = self.subscriber.position();
        }
    }

    /// Whether an end before the answer is the answer: the backend refused, and gave nothing. What an earlier poll gave is
    /// not for a client that a later poll refuses.
    fn is_refusal(&self, end: &End) -> bool {
        let is_polled = matches!(self.route.source, Some(Source::Poll(_)));
        // A client that the backend refuses gets no gap for an unknown position.
        let is_gap = |event: &Arc<Event>| matches!(event.kind, EventKind::Gap { .. });
        let gave_nothing = self.prelude.iter().all(is_gap) && !self.subscriber.is_behind();
        (is_polled || gave_nothing) && end.code != Code::UpstreamClosed
    }

    fn tell_state(&mut self, desk: &mut FrameBatch<'_>) {
        if let Some(state) = self.subscriber.state_change() {
            desk.say(&Output::State {
                ch: self.ch,
                path: &self.subscriber.target().url,
                state: &state,
            });
        }
    }
}

/// The refusal that an end before the answer amounts to.
pub(super) fn refusal_of(end: &End) -> Refusal {
    let detail = match end.code {
        Code::Unauthorized => "the backend did not accept the credentials",
        Code::Forbidden => "the backend refused",
        Code::NotFound => "the backend knows nothing there",
        _ => "nothing can be read there",
    };
    Refusal {
        status: end.status,
        retry_ms: end.retry_ms,
        ..Refusal::new(end.code, detail)
    }
}
