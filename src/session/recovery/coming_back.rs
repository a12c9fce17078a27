//! A client on its way back.

use super::{Record, RecordedSubscription, SecretId, Trail};
use crate::event::Position;

/// What a CONNECT says of a session before.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Which it was.
    pub(crate) pid: String,
    /// The position of the last event, where the client has any.
    pub(crate) offset: Option<String>,
}

/// What a client has missed that could not come back to its session.
pub(crate) struct Missed {
    /// How far it had read each path, where that is known.
    places: Vec<(String, Option<Position>)>,
    /// The position that it has named.
    named: Option<Position>,
}

impl Missed {
    /// Of a session that is not known.
    pub(crate) fn of(offer: &Offer) -> Missed {
        Missed {
            places: Vec::new(),
            named: offer.offset.as_deref().and_then(Position::named),
        }
    }

    /// From where on this path is missed.
    pub(crate) fn from(&self, path: &str) -> Option<Position> {
        let place = self.places.iter().find(|(known, _)| known == path);
        place.map_or(self.named, |(_, place)| *place)
    }
}

/// A client on its way back: its CONNECT is not answered yet.
pub(crate) struct ComingBack {
    pub(crate) id: SecretId,
    record: Record,
    /// The position that the client has named.
    named: Option<Position>,
    /// Where its subscriptions go on, by their channels of before.
    places: Vec<(u32, Option<Position>)>,
    /// Subscriptions that are not there yet.
    missing: usize,
    /// What came of each of the record's subscriptions: the channel now.
    found: Vec<Option<u32>>,
}

impl ComingBack {
    /// What its client comes back to, with the position that it has named; `None` where its place is not known any more.
    pub(crate) fn new(id: SecretId, record: Record, named: Option<Position>) -> Option<Self> {
        Some(ComingBack {
            id,
            named,
            places: record.trail.places(named)?,
            missing: record.subscriptions.len(),
            found: vec![None; record.subscriptions.len()],
            record,
        })
    }

    /// What it was subscribed to, and where that goes on.
    pub(crate) fn wishes(&self) -> Vec<(RecordedSubscription, Option<Position>)> {
        let subs = self.record.subscriptions.iter();
        subs.map(|sub| (sub.clone(), self.place(sub.ch))).collect()
    }

    /// Whether all of that is there, or cannot be.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// What its client misses where it cannot come back.
    pub(crate) fn missed(&self) -> Missed {
        let subs = self.record.subscriptions.iter();
        Missed {
            places: subs
                .map(|sub| (sub.path.clone(), self.place(sub.ch)))
                .collect(),
            named: self.named,
        }
    }

    /// Where a subscription of before goes on; `None`: from its beginning.
    fn place(&self, ch: u32) -> Option<Position> {
        let place = self.places.iter().find(|(known, _)| *known == ch);
        place.and_then(|(_, at)| *at)
    }

    /// One of its subscriptions, by its number among them, is there under this channel, with all that its client has missed; `None`: it
    /// cannot be.
    pub(crate) fn note(&mut self, index: u64, ch: Option<u32>) {
        self.missing = self.missing.saturating_sub(1);
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(found) = self.found.get_mut(place) {
            *found = ch;
        }
    }

    /// What the session's record is from now on; `None` where something of it is lost.
    pub(crate) fn recovered(&mut self) -> Option<Record> {
        let mut trail = Trail::default();
        let mut subscriptions = Vec::new();
        let last = self.named.and_then(|named| self.record.trail.whose(named));
        let mut has_last = 0;
        for (sub, ch) in self.record.subscriptions.iter().zip(&self.found) {
            let ch = (*ch)?;
            trail.begin(ch, self.place(sub.ch));
            if Some(sub.ch) == last {
                has_last = ch;
            }
            subscriptions.push(RecordedSubscription { ch, ..sub.clone() });
        }
        // The client goes on to name this position until there is a newer event.
        if let Some(named) = self.named {
            trail.sent(has_last, named);
        }
        Some(Record {
            subscriptions,
            trail,
            ..std::mem::take(&mut self.record)
        })
    }
}
