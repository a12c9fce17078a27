//! A subscription's place in a topic: a cursor into the shared log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::clock::now;
use super::history::History;
use super::history::entries::Cursor;
use super::history::stream::Brought;
use super::key::{Credentials, Scope, Target};
use super::own_reads::OwnReads;
use super::resume::{self, ResumePoint};
use super::topic::Topic;
use super::types::{Phase, ReadProgress, Start};
use crate::config::{Join, Queue, Source};
use crate::error::Code;
use crate::event::{End, Event, GapWhy, Position, State};

/// What joining a topic gave.
pub struct Joined {
    /// The cursor.
    pub subscriber: Subscriber,
    /// The head at joining; replay is `after`+1 … `at`.
    pub(crate) at: Position,
    /// True when everything after the asked position will be delivered, and as plain events: no gap,
    /// no snapshot. Never true for [`Start::Live`], which asks for nothing.
    pub(crate) recovered: bool,
    /// What goes out before the log: at most one gap, then at most one snapshot.
    pub(crate) prelude: Vec<Arc<Event>>,
}

/// A cursor into one topic. Dropping it leaves the topic.
pub struct Subscriber {
    pub(super) topic: Arc<Topic>,
    pub(super) cursor: Cursor,
    slot: u32,
    /// The number of the state that the client has.
    pub(super) told: u32,
    pub(super) told_live: bool,
    /// The backend has not said whether it goes on after the id that this one brought.
    awaits: bool,
    /// A request of its own, that this one reads, or has read just now.
    pub(super) own: Option<Box<OwnReads>>,
    is_paused: bool,
}

impl Subscriber {
    /// Places a new subscriber, whose slot among the listeners is taken already: nothing published
    /// from now on stays unheard.
    ///
    /// Also whether it is to begin with a request of its own.
    pub(super) fn begin(topic: Arc<Topic>, slot: u32, start: Start) -> (Joined, bool) {
        let resumes = !matches!(start, Start::Live | Start::Lost(_));
        let join = match &topic.route.load().source {
            Some(Source::Sse(sse)) => sse.join,
            Some(Source::Poll(_)) | None => Join::Live,
        };
        let (placed, cursor, head) = topic.with_trimmed_log(|log, now| {
            let placed = resume::begin(log, start, join, now);
            let mut cursor = Cursor::new(placed.cursor);
            log.hold(&mut cursor);
            // Under the log's lock: what the backend says of the id is reported under it too.
            topic
                .presence
                .awaiting
                .fetch_add(placed.awaits.into(), Ordering::AcqRel);
            (placed, cursor, log.head())
        });
        let ResumePoint {
            recovered,
            lost,
            prelude,
            reads_own,
            awaits,
            ..
        } = placed;
        if recovered && resumes {
            topic.meters.replays.inc();
        }
        if let Some(why) = lost {
            topic.count_gap(why);
        }
        let joined = Joined {
            at: topic.log.position(head),
            subscriber: Subscriber {
                topic,
                cursor,
                slot,
                told: 0,
                told_live: true,
                awaits,
                own: None,
                is_paused: false,
            },
            recovered,
            prelude,
        };
        (joined, reads_own)
    }

    /// The channel number of the topic.
    pub(crate) fn ch(&self) -> u32 {
        self.topic.ch
    }

    /// What the topic reads, as it was when the topic began.
    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.topic.target
    }

    /// The last position handed out (or the place where the subscription began).
    pub(crate) fn position(&self) -> Position {
        let current = self.current();
        current.topic.log.position(current.cursor.offset)
    }

    /// The backend's id of the last event handed out, where it has one and is kept.
    pub(crate) fn last_event_id(&self) -> Option<Arc<str>> {
        let (topic, offset) = {
            let current = self.current();
            (&current.topic, current.cursor.offset)
        };
        topic.with_log(|log| log.event(offset)?.id.clone())
    }

    /// The channel's head.
    pub(crate) fn head(&self) -> Position {
        let topic = &self.current().topic;
        topic.log.position(topic.log.head())
    }

    /// How it ended where the backend has refused these very credentials, though the topic goes on with others': nothing more is
    /// for this subscriber.
    pub(crate) fn refusal(&self) -> Option<End> {
        self.topic.presence.refusal(self.slot)
    }

    /// Where the topic stands.
    pub(crate) fn phase(&self) -> Phase {
        match (self.topic.phase(), self.reading()) {
            // Its own request brings what the backend had to say.
            (Phase::Ended(end), Some(reading)) if end.code == Code::UpstreamClosed => {
                reading.reader.phase()
            }
            (Phase::Opening | Phase::Open, Some(reading)) => reading.reader.phase(),
            (Phase::Opening | Phase::Open, None) if self.awaits => {
                match self.topic.with_log(|log| log.stream().brought().clone()) {
                    Brought::Over(end) => Phase::Ended(end),
                    _ => self.topic.phase(),
                }
            }
            (phase, _) => phase,
        }
    }

    /// What the backend has said since the subscription began, where it concerns this one only: a gap where its stream does not
    /// go on after the id that this one brought, or where a request of its own is not answered. To be asked before anything is
    /// sent; the channel's head may be another then.
    pub(crate) fn settle(&mut self) -> Vec<Arc<Event>> {
        if self.awaits {
            let brought = self.topic.with_log(|log| log.stream().brought().clone());
            let cursor = self.cursor.offset;
            match brought {
                Brought::Asked(_) | Brought::Over(_) => return Vec::new(),
                Brought::Nothing | Brought::Taken(_) => {}
                Brought::Refused => {
                    self.stop_awaiting();
                    return self.replace(|log, now| resume::not_resumed(log, cursor, now));
                }
            }
            self.stop_awaiting();
        }
        match self.reading() {
            Some(reading) if reading.reader.topic.condition.has_failed() => {
                let from = reading.reader.position();
                self.leave_own(None);
                let why = GapWhy::UpstreamReconnect;
                self.replace(|log, now| resume::without_beginning(log, from, why, now))
            }
            _ => Vec::new(),
        }
    }

    fn stop_awaiting(&mut self) {
        if std::mem::take(&mut self.awaits) {
            self.topic.presence.awaiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The state, where the client has another; marks it as sent. A new client believes it is live.
    pub(crate) fn state_change(&mut self) -> Option<State> {
        if let Some(OwnReads::Reading(reading)) = self.own.as_deref_mut() {
            return reading.reader.state_change();
        }
        let (version, state) = self.topic.condition.state_since(self.told)?;
        self.told = version;
        let news = !(state.live && self.told_live);
        self.told_live = state.live;
        news.then_some(state)
    }

    /// Takes over the state that the client has of another topic, so that it gets the difference.
    pub(crate) fn take_over(&mut self, elsewhere: &Subscriber) {
        self.told_live = elsewhere.current().told_live;
    }

    /// The credentials that this subscriber brought, or has renewed.
    pub(crate) fn credentials(&self) -> Credentials {
        self.topic.presence.credentials_of(self.slot)
    }

    /// The client has newer credentials: the topic's next request goes with them. A public topic has none.
    pub(crate) fn renew(&self, credentials: Credentials) {
        if self.topic.target.scope != Scope::Public {
            if let Some(reading) = self.reading() {
                reading.reader.renew(credentials.clone());
            }
            self.topic.presence.renew(self.slot, credentials);
        }
    }

    /// Wants nothing until [`Subscriber::resume`]: a source that only this one would be asked for may rest, and nothing is kept
    /// for it but the replay window.
    pub(crate) fn pause(&mut self) {
        if !std::mem::replace(&mut self.is_paused, true) {
            self.topic.presence.drowse();
            self.let_go();
        }
    }

    /// Wants again what is published.
    pub(crate) fn resume(&mut self) {
        if std::mem::take(&mut self.is_paused) {
            self.topic.with_log(|log| log.hold(&mut self.cursor));
            if let Some(OwnReads::Reading(reading)) = self.own.as_deref_mut() {
                let reader = &mut reading.reader;
                reader.topic.with_log(|log| log.hold(&mut reader.cursor));
            }
            self.topic.presence.rouse();
        }
    }

    /// Nothing is kept for it any more until it reads again: its client takes next to nothing.
    pub(crate) fn let_go(&mut self) {
        if let Some(OwnReads::Reading(reading)) = self.own.as_deref_mut() {
            reading.reader.let_go();
        }
        self.topic.with_log(|log| log.let_go(&mut self.cursor));
    }

    /// Whether [`Subscriber::let_go`] was called and nothing read since.
    pub(crate) fn is_let_go(&self) -> bool {
        !self.current().cursor.is_held()
    }

    /// Cheap (no lock): whether a read would give anything.
    pub(crate) fn is_behind(&self) -> bool {
        let is_behind = self.topic.log.head() > self.cursor.offset;
        is_behind
            || self
                .reading()
                .is_some_and(|reading| reading.reader.is_behind())
    }

    /// How many entries, and bytes, wait behind the cursor.
    pub(crate) fn waiting(&self) -> Queue {
        let current = self.current();
        let offset = current.cursor.offset;
        current.topic.with_log(|log| log.waiting(offset))
    }

    /// Whether more is kept for it than this.
    pub(crate) fn is_further_behind(&self, allowed: Queue) -> bool {
        let own = self.reading().map(|reading| &reading.reader);
        if own.is_some_and(|own| own.is_further_behind(allowed)) {
            return true;
        }
        let is_further = |log: &mut History| log.is_further_behind(self.cursor.offset, allowed);
        let is_behind = self.topic.log.head() > self.cursor.offset;
        self.cursor.is_held() && is_behind && self.topic.with_log(is_further)
    }

    /// Whether what comes next is no longer kept.
    pub(crate) fn has_lost(&self) -> bool {
        let current = self.current();
        let offset = current.cursor.offset;
        current.topic.with_log(|log| log.has_lost(offset))
    }

    /// What was read of an entry is kept with it, and takes more memory from now on.
    pub(crate) fn recount(&self, event: &Event) {
        self.current().topic.log.recount(event);
    }

    /// Appends up to `count` entries to `out` and moves the cursor.
    ///
    /// What waits for a present subscriber is kept until it is read, let go, or memory runs short.
    pub fn read(&mut self, out: &mut Vec<Arc<Event>>, count: usize) -> ReadProgress {
        match self.own {
            None => self.read_log(out, count),
            Some(_) => self.read_own_first(out, count),
        }
    }

    pub(super) fn read_log(&mut self, out: &mut Vec<Arc<Event>>, count: usize) -> ReadProgress {
        self.topic.log.read(&mut self.cursor, out, count)
    }

    /// After an overrun: goes to the oldest entry that is kept. Returns the gap, and for a polled route the current document's
    /// snapshot instead of the entries (the cursor is then at the head). Nothing is returned where nothing is lost.
    pub(crate) fn skip_with_gap(&mut self) -> Vec<Arc<Event>> {
        if let Some(OwnReads::Reading(reading)) = self.own.as_deref_mut() {
            return reading.reader.skip_with_gap();
        }
        // What is skipped may be what was still to come.
        self.own = None;
        let offset = self.cursor.offset;
        self.replace(|log, now| resume::skip(log, offset, now))
    }

    /// After a pause: returns the gap `expired` (and a polled route's snapshot) where what comes next is no longer kept.
    pub(crate) fn go_on(&mut self) -> Vec<Arc<Event>> {
        if let Some(OwnReads::Reading(reading)) = self.own.as_deref_mut() {
            return reading.reader.go_on();
        }
        let offset = self.cursor.offset;
        self.replace(|log, now| resume::go_on(log, offset, now))
    }

    /// Goes to the head; returns the current document as a snapshot where the topic has one (coalescing: no loss), else `None` and the cursor stays.
    ///
    /// Also `None` where the cursor is at the head, and where a gap waits that the client has to get.
    pub(crate) fn skip_to_document(&mut self) -> Option<Arc<Event>> {
        self.topic.with_log(|log| {
            let offset = self.cursor.offset;
            if offset == log.head() || log.last_gap() > offset {
                return None;
            }
            let snapshot = log.snapshot()?;
            log.move_to(&mut self.cursor, log.head());
            Some(snapshot)
        })
    }

    pub(super) fn replace(
        &mut self,
        find: impl FnOnce(&mut History, std::time::Instant) -> ResumePoint,
    ) -> Vec<Arc<Event>> {
        let placed = self.topic.with_log(|log| {
            let placed = find(log, now());
            log.move_to(&mut self.cursor, placed.cursor);
            placed
        });
        if let Some(why) = placed.lost {
            self.topic.count_gap(why);
        }
        placed.prelude
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.stop_awaiting();
        if self.reading().is_some() {
            self.leave_own(None);
        }
        self.topic.with_log(|log| log.let_go(&mut self.cursor));
        let home = self.topic.home.clone();
        home.leave(&self.topic, self.slot, self.is_paused);
    }
}
