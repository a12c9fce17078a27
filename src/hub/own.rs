//! A newcomer's own read: a request to the backend for one subscriber, which gets what the backend sends to every new
//! connection, until it meets an event that the shared topic holds. Then it goes on there.
//!
//! Events are the same where id, name and data are. Only one that bore an id of its own says where the shared log stands, and
//! only where neither side has met it twice: an id that repeats proves nothing.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::log::Log;
use super::place;
use super::subscriber::{Joined, Progress, Start, Subscriber};
use super::{Credentials, Signal, Target};
use crate::error::{Code, Refusal};
use crate::event::{Event, GapWhy, Kind, Position};

/// The newest delivered events that are remembered.
const MOST: usize = 1000;

/// Beside a subscriber's place in the shared topic.
pub(super) enum Own {
    /// It reads its own request.
    Reading(Reading),
    /// It has joined the shared topic, where these events, delivered already, are still to come.
    Ahead(VecDeque<u64>),
}

/// A request of one subscriber's own.
pub(super) struct Reading {
    /// Its place in the topic of its own.
    pub reader: Subscriber,
    delivered: VecDeque<Delivered>,
}

struct Delivered {
    mark: u64,
    has_own_id: bool,
}

impl Reading {
    pub fn new(reader: Subscriber) -> Self {
        Reading {
            reader,
            delivered: VecDeque::new(),
        }
    }

    /// An event goes out; its mark, where that may say where the shared log stands.
    pub fn deliver(&mut self, event: &Event, marks: &RandomState) -> Option<u64> {
        if event.kind != Kind::Event {
            return None;
        }
        let (mark, has_own_id) = (mark(event, marks), has_place(event));
        let is_known = self.delivered.iter().any(|known| known.mark == mark);
        if self.delivered.len() == MOST {
            self.delivered.pop_front();
        }
        self.delivered.push_back(Delivered { mark, has_own_id });
        (has_own_id && !is_known).then_some(mark)
    }

    /// What was delivered after the one event with this mark; `None` where it was not, or more than once.
    pub fn delivered_after(&self, mark: u64) -> Option<VecDeque<u64>> {
        let mut found = (self.delivered.iter().enumerate())
            .filter(|(_, delivered)| delivered.has_own_id && delivered.mark == mark);
        let (at, _) = found.next()?;
        if found.next().is_some() {
            return None;
        }
        let later = self.delivered.iter().skip(at + 1);
        Some(later.map(|delivered| delivered.mark).collect())
    }
}

impl Joined {
    /// Begins with a request of its own. Where there is no room for one: with what the topic holds, behind a gap.
    ///
    /// # Errors
    /// `draining`.
    pub(super) fn read_own(
        &mut self,
        target: Arc<Target>,
        credentials: Credentials,
        signal: Arc<Signal>,
    ) -> Result<(), Refusal> {
        let subscriber = &mut self.subscriber;
        let topic = subscriber.topic.clone();
        match topic.node.read_own(&topic, target, credentials, signal) {
            Ok((own, slot)) => {
                let (joined, _) = Subscriber::begin(own, slot, Start::Live);
                topic.with_log(|log| log.index(&topic.node.marks));
                self.at = joined.at;
                let reading = Reading::new(joined.subscriber);
                subscriber.own = Some(Box::new(Own::Reading(reading)));
            }
            Err(refusal) if refusal.code == Code::TooManySubs => {
                let from = subscriber.position();
                let from = Position { offset: 0, ..from };
                let why = GapWhy::Expired;
                self.prelude =
                    subscriber.replace(|log, now| place::without_beginning(log, from, why, now));
            }
            Err(refusal) => return Err(refusal),
        }
        Ok(())
    }
}

impl Subscriber {
    /// Its own request, as long as it reads that.
    pub(super) fn reading(&self) -> Option<&Reading> {
        match self.own.as_deref() {
            Some(Own::Reading(reading)) => Some(reading),
            Some(Own::Ahead(_)) | None => None,
        }
    }

    /// Its place in what it reads now.
    pub(super) fn current(&self) -> &Subscriber {
        self.reading().map_or(self, |reading| &reading.reader)
    }

    /// Its own request is over; these events of it are still to come in the shared topic.
    pub(super) fn leave_own(&mut self, ahead: Option<VecDeque<u64>>) {
        let ahead = ahead.filter(|ahead| !ahead.is_empty());
        let next = ahead.map(|ahead| Box::new(Own::Ahead(ahead)));
        let before = std::mem::replace(&mut self.own, next);
        if let Some(Own::Reading(reading)) = before.as_deref() {
            self.told_live = reading.reader.told_live;
            self.told = 0;
            self.topic.with_log(Log::unindex);
        }
    }

    /// As [`Subscriber::read`], where there is, or just was, a request of its own.
    pub(super) fn read_own_first(&mut self, out: &mut Vec<Arc<Event>>, count: usize) -> Progress {
        let start = out.len();
        if let Some(progress) = self.read_until_met(out, count) {
            return progress;
        }
        let before = out.len();
        let progress = self.read_log(out, count.saturating_sub(before - start));
        if let Some(Own::Ahead(ahead)) = self.own.as_deref_mut() {
            let marks = &self.topic.node.marks;
            let mut fresh = out.split_off(before);
            fresh.retain(|event| !was_delivered(ahead, event, marks));
            out.append(&mut fresh);
            if ahead.is_empty() {
                self.own = None;
            }
        }
        progress
    }

    /// Reads its own request; `None` once that has met the shared topic.
    fn read_until_met(&mut self, out: &mut Vec<Arc<Event>>, count: usize) -> Option<Progress> {
        let topic = self.topic.clone();
        let cursor = &mut self.cursor;
        let Some(Own::Reading(reading)) = self.own.as_deref_mut() else {
            return None;
        };
        // What the shared topic has got since the last look may be what was delivered here.
        let met = topic.with_log(|log| log.meet(cursor, reading));
        if let Some(ahead) = met {
            self.leave_own(Some(ahead));
            return None;
        }
        let mut events = Vec::new();
        let progress = reading.reader.read(&mut events, count);
        // No client can resume an epoch of one reader: what that reader has is kept for none.
        reading.reader.topic.forget(reading.reader.cursor.offset);
        for event in events {
            let mark = reading.deliver(&event, &topic.node.marks);
            out.push(event);
            if mark.is_some_and(|mark| topic.with_log(|log| log.go_to(cursor, mark))) {
                self.leave_own(None);
                return None;
            }
        }
        Some(progress)
    }
}

/// Whether this entry of the shared log was delivered by the own read already. What is passed over is not to come any more.
pub(super) fn was_delivered(ahead: &mut VecDeque<u64>, event: &Event, marks: &RandomState) -> bool {
    if event.kind != Kind::Event {
        // A loss may have taken the rest.
        ahead.clear();
        return false;
    }
    let mark = mark(event, marks);
    let Some(at) = ahead.iter().position(|known| *known == mark) else {
        return false;
    };
    ahead.drain(..=at);
    true
}

pub(super) fn has_place(event: &Event) -> bool {
    event.has_own_id && event.id.is_some()
}

pub(super) fn mark(event: &Event, marks: &RandomState) -> u64 {
    marks.hash_one((&event.id, event.has_own_id, &event.name, event.data.bytes()))
}
