//! A newcomer's own read: a request to the backend for one subscriber, which gets what the backend sends to every new
//! connection, until it meets an event that the shared topic holds. Then it goes on there.

use std::collections::VecDeque;
use std::sync::Arc;

use super::delivered::{Delivered, Marks};
use super::history::History;
use super::key::{Credentials, Target};
use super::registry::Registry;
use super::resume;
use super::subscriber::{Joined, Subscriber};
use super::types::{ReadProgress, Start};
use super::wake::WakeFlag;
use crate::error::{Code, Refusal};
use crate::event::{Event, EventKind, GapWhy, Position};

/// Beside a subscriber's place in the shared topic.
pub(super) enum OwnReads {
    /// It reads its own request.
    Reading(Reading),
    /// It has joined the shared topic.
    Ahead(Ahead),
}

/// A request of one subscriber's own.
pub(super) struct Reading {
    /// Its place in the topic of its own.
    pub(crate) reader: Subscriber,
    delivered: Delivered,
    marks: Marks,
}

/// Events that were delivered already, and are still to come in the shared topic.
pub(super) struct Ahead {
    events: VecDeque<u64>,
    marks: Marks,
}

impl Joined {
    /// Begins with a request of its own. Where there is no room for one: with what the topic holds, behind a gap.
    ///
    /// # Errors
    /// `draining`.
    pub(super) fn read_own(
        &mut self,
        node: &Arc<Registry>,
        target: Arc<Target>,
        credentials: Credentials,
        signal: Arc<WakeFlag>,
    ) -> Result<(), Refusal> {
        let subscriber = &mut self.subscriber;
        match node.read_own(&subscriber.topic, target, credentials, signal) {
            Ok((own, slot)) => {
                let (joined, _) = Subscriber::begin(own, slot, Start::Live);
                self.at = joined.at;
                let reading = Reading {
                    reader: joined.subscriber,
                    delivered: Delivered::default(),
                    marks: subscriber.topic.with_log(History::index),
                };
                subscriber.own = Some(Box::new(OwnReads::Reading(reading)));
            }
            Err(refusal) if refusal.code == Code::TooManySubs => {
                let from = subscriber.position();
                let from = Position { offset: 0, ..from };
                let why = GapWhy::Expired;
                self.prelude =
                    subscriber.replace(|log, now| resume::without_beginning(log, from, why, now));
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
            Some(OwnReads::Reading(reading)) => Some(reading),
            Some(OwnReads::Ahead(_)) | None => None,
        }
    }

    /// Its place in what it reads now.
    pub(super) fn current(&self) -> &Subscriber {
        self.reading().map_or(self, |reading| &reading.reader)
    }

    /// Its own request is over; these events of it are still to come in the shared topic.
    pub(super) fn leave_own(&mut self, ahead: Option<VecDeque<u64>>) {
        let Some(OwnReads::Reading(reading)) = self.own.take().map(|own| *own) else {
            return;
        };
        self.told_live = reading.reader.told_live;
        self.told = 0;
        self.topic.with_log(History::unindex);
        let marks = reading.marks;
        let ahead = ahead.filter(|events| !events.is_empty());
        let ahead = ahead.map(|events| OwnReads::Ahead(Ahead { events, marks }));
        self.own = ahead.map(Box::new);
    }

    /// As [`Subscriber::read`], where there is, or just was, a request of its own.
    pub(super) fn read_own_first(
        &mut self,
        out: &mut Vec<Arc<Event>>,
        count: usize,
    ) -> ReadProgress {
        let start = out.len();
        if let Some(progress) = self.read_until_met(out, count) {
            return progress;
        }
        let before = out.len();
        let progress = self.read_log(out, count.saturating_sub(before - start));
        if let Some(OwnReads::Ahead(ahead)) = self.own.as_deref_mut() {
            let mut fresh = out.split_off(before);
            fresh.retain(|event| !ahead.has(event));
            out.append(&mut fresh);
            if ahead.events.is_empty() {
                self.own = None;
            }
        }
        progress
    }

    /// Reads its own request; `None` once that has met the shared topic.
    fn read_until_met(&mut self, out: &mut Vec<Arc<Event>>, count: usize) -> Option<ReadProgress> {
        let topic = self.topic.clone();
        let cursor = &mut self.cursor;
        let Some(OwnReads::Reading(reading)) = self.own.as_deref_mut() else {
            return None;
        };
        // What the shared topic has got since the last look may be what was delivered here.
        let met = topic.with_log(|log| log.meet(cursor, &reading.delivered));
        if let Some(ahead) = met {
            self.leave_own(Some(ahead));
            return None;
        }
        let mut events = Vec::new();
        let progress = reading.reader.read(&mut events, count);
        // No client can resume an epoch of one reader: what that reader has is kept for none.
        reading
            .reader
            .topic
            .log
            .forget(reading.reader.cursor.offset);
        for event in events {
            let mark = reading.delivered.deliver(&event, &reading.marks);
            out.push(event);
            if mark.is_some_and(|mark| topic.with_log(|log| log.go_to(cursor, mark))) {
                self.leave_own(None);
                return None;
            }
        }
        Some(progress)
    }
}

impl Ahead {
    /// Whether this entry of the shared log was delivered by the own read already. What is passed over is not to come any more.
    fn has(&mut self, event: &Event) -> bool {
        if event.kind != EventKind::Event {
            // A loss may have taken the rest.
            self.events.clear();
            return false;
        }
        let mark = self.marks.of(event);
        let Some(at) = self.events.iter().position(|known| *known == mark) else {
            return false;
        };
        self.events.drain(..=at);
        true
    }
}
