//! What travels to clients: an [`Event`] at its [`Position`], and the states and ends beside it.

pub(crate) mod encodings;
mod parsed;
mod position;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;

use encodings::Encodings;
pub(crate) use parsed::{Fields, List, MemberPlaces, Parsed, Reading};
pub(crate) use position::{Epoch, Position};

use crate::json;

/// Why something was lost (`gap.why`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapWhy {
    /// Older than the replay window.
    Expired,
    /// A position of another epoch, or from the future.
    Epoch,
    /// The client read too slowly.
    Slow,
    /// The backend's stream broke and could not be resumed by id.
    UpstreamReconnect,
    /// One event was above the size limit.
    TooLarge,
    /// The configuration changed what is read.
    Config,
}

impl GapWhy {
    /// All of them.
    pub(crate) const ALL: [GapWhy; 6] = [
        GapWhy::Expired,
        GapWhy::Epoch,
        GapWhy::Slow,
        GapWhy::UpstreamReconnect,
        GapWhy::TooLarge,
        GapWhy::Config,
    ];

    /// The word on the wire and in the metric label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            GapWhy::Expired => "expired",
            GapWhy::Epoch => "epoch",
            GapWhy::Slow => "slow",
            GapWhy::UpstreamReconnect => "upstream_reconnect",
            GapWhy::TooLarge => "too_large",
            GapWhy::Config => "config",
        }
    }
}

/// An event's payload: JSON goes out embedded as it was, anything else as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Valid JSON, without line breaks that would need care in a frame.
    Json(Bytes),
    /// Valid UTF-8 that is no JSON document.
    Text(Bytes),
}

impl Data {
    /// The payload's bytes; always valid UTF-8.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Data::Json(bytes) | Data::Text(bytes) => bytes,
        }
    }

    /// Classifies a text: JSON where it parses as one JSON value, text otherwise.
    pub(crate) fn classify(text: Bytes) -> Data {
        match json::is_json(&text) {
            true => Data::Json(text),
            false => Data::Text(text),
        }
    }
}

/// What an entry of a topic's log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// Something happened.
    Event,
    /// The whole document, reflecting the entry's offset.
    Snapshot,
    /// Everything after `from` up to this entry's own position is lost.
    Gap {
        /// The last position that the receiver may hold.
        from: Position,
        /// Why.
        why: GapWhy,
    },
}

/// What happened to an item of a polled list, whatever name clients see for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Which of the three.
    pub(crate) kind: ChangeKind,
    /// The item before: of an updated one, where the route lets clients filter; of a deleted one, where it is not the
    /// event's own data.
    pub(crate) before: Option<Arc<[u8]>>,
}

/// See [`Change::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// It was not there before.
    Created,
    /// It differs.
    Updated,
    /// It is gone; the event holds it as it was.
    Deleted,
}

impl ChangeKind {
    /// All of them.
    pub(crate) const ALL: [ChangeKind; 3] = [
        ChangeKind::Created,
        ChangeKind::Updated,
        ChangeKind::Deleted,
    ];

    /// The word in a handover.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Created => "created",
            ChangeKind::Updated => "updated",
            ChangeKind::Deleted => "deleted",
        }
    }
}

/// What led to an event: a place in a sampled trace, reported once where it arrives.
#[derive(Debug)]
pub struct Cause {
    /// The trace's number.
    pub(crate) trace: u128,
    /// The span's number.
    pub(crate) span: u64,
    is_told: AtomicBool,
}

impl Cause {
    /// A place in a trace that is not reported yet.
    pub(crate) fn new(trace: u128, span: u64) -> Self {
        Cause {
            trace,
            span,
            is_told: AtomicBool::new(false),
        }
    }

    /// Whether the caller reports the arrival: true for the first call only.
    pub(crate) fn claim(&self) -> bool {
        !self.is_told.swap(true, Ordering::Relaxed)
    }
}

/// What an entry without payload counts for against limits in bytes.
pub(crate) const FLAT_WEIGHT: usize = 64;

/// One entry of a topic's log, immutable and shared by all sessions that receive it.
#[derive(Debug)]
pub struct Event {
    /// The channel number of the topic that it was published on.
    pub(crate) ch: u32,
    /// Where it stands.
    pub(crate) position: Position,
    /// What it is.
    pub(crate) kind: EventKind,
    /// The event's name; `None` means `message`.
    pub(crate) name: Option<Arc<str>>,
    /// The last event id as `EventSource.lastEventId` would show it; `None` when there is none.
    pub(crate) id: Option<Arc<str>>,
    /// Whether the event itself bore that id, rather than showing an earlier one's.
    pub(crate) has_own_id: bool,
    /// The payload; of a gap the position that its client named, where that is sent as it was, else empty text.
    pub(crate) data: Data,
    /// What happened to an item, where it is about one.
    pub(crate) change: Option<Change>,
    /// When the sidecar had read it from the backend completely.
    pub(crate) at: Instant,
    /// What led to it, where its trace is sampled.
    pub(crate) cause: Option<Arc<Cause>>,
    /// What was encoded of it.
    pub(crate) encodings: Encodings,
    /// `None` where it would take too much.
    parsed: OnceLock<Option<Box<Parsed>>>,
}

impl Event {
    /// A new entry with nothing encoded yet.
    pub(crate) fn new(
        ch: u32,
        position: Position,
        kind: EventKind,
        draft: Draft,
        at: Instant,
    ) -> Self {
        let Draft {
            name,
            id,
            has_own_id,
            data,
            change,
        } = draft;
        Event {
            ch,
            position,
            kind,
            name,
            id,
            has_own_id,
            data,
            change,
            at,
            cause: None,
            encodings: Encodings::default(),
            parsed: OnceLock::new(),
        }
    }

    /// The fields that filters read: found by the first filter with these fields, and kept for the others unless it takes more memory
    /// than the data itself. Also whether more is kept now than before.
    pub(crate) fn parsed(
        &self,
        fields: &Arc<Fields>,
        items: Option<&str>,
    ) -> (Cow<'_, Parsed>, bool) {
        let mut is_new = false;
        let kept = self.parsed.get_or_init(|| {
            let parsed = Parsed::of(self, fields, items);
            is_new = parsed.list_bytes() <= self.data.bytes().len();
            is_new.then(|| Box::new(parsed))
        });
        let parsed = match kept {
            Some(parsed) if parsed.is_for(fields) => Cow::Borrowed(&**parsed),
            _ => Cow::Owned(Parsed::of(self, fields, items)),
        };
        (parsed, is_new)
    }

    /// Bytes of memory that were made of it for its readers: what [`Event::parsed`] keeps, and its encodings.
    pub(crate) fn made_bytes(&self) -> usize {
        let parsed = self.parsed.get().and_then(Option::as_ref);
        parsed.map_or(0, |parsed| parsed.bytes()) + self.encodings.bytes()
    }

    /// The same entry in other words: for one client alone.
    pub(crate) fn reworded(&self, name: &Arc<str>, data: Data, change: Change) -> Arc<Event> {
        let draft = Draft {
            name: Some(name.clone()),
            id: self.id.clone(),
            has_own_id: self.has_own_id,
            data,
            change: Some(change),
        };
        let mut event = Event::new(self.ch, self.position, self.kind.clone(), draft, self.at);
        event.cause.clone_from(&self.cause);
        Arc::new(event)
    }

    /// The same gap for a client that has named its position itself.
    pub(crate) fn told_from(&self, position: &str) -> Arc<Event> {
        let draft = Draft {
            name: None,
            id: None,
            has_own_id: false,
            data: Data::Text(Bytes::copy_from_slice(position.as_bytes())),
            change: None,
        };
        let kind = self.kind.clone();
        Arc::new(Event::new(self.ch, self.position, kind, draft, self.at))
    }

    /// What the entry counts for against limits that a file sets in bytes: payload, the item before, name, id and a flat cost. What it
    /// takes in memory is more, and the log's to say.
    pub(crate) fn weight(&self) -> usize {
        let name = self.name.as_deref().map_or(0, str::len);
        let id = self.id.as_deref().map_or(0, str::len);
        let before = self
            .change
            .as_ref()
            .and_then(|change| change.before.as_ref());
        let before = before.map_or(0, |before| before.len());
        FLAT_WEIGHT + name + id + self.data.bytes().len() + before
    }
}

/// An event before the topic gives it a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// See [`Event::name`].
    pub(crate) name: Option<Arc<str>>,
    /// See [`Event::id`].
    pub(crate) id: Option<Arc<str>>,
    /// See [`Event::has_own_id`].
    pub(crate) has_own_id: bool,
    /// See [`Event::data`].
    pub data: Data,
    /// See [`Event::change`].
    pub(crate) change: Option<Change>,
}

impl Draft {
    /// A draft without name and id.
    pub fn plain(data: Data) -> Self {
        Draft {
            name: None,
            id: None,
            has_own_id: false,
            data,
            change: None,
        }
    }
}

/// Whether the topic follows its backend right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// False when what clients hold may be stale.
    pub(crate) live: bool,
    /// Why not, one word (`upstream_down`, `connecting`, …); absent while live.
    pub(crate) why: Option<&'static str>,
    /// Since when, Unix seconds.
    pub(crate) since: u64,
}

/// Why and how a subscription is over for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// An error code, `upstream_closed`, `legacy` or `route_removed`.
    pub(crate) code: crate::error::Code,
    /// The backend's HTTP status where it refused; otherwise the code's own.
    pub(crate) status: u16,
    /// When coming back makes sense, milliseconds.
    pub(crate) retry_ms: Option<u64>,
    /// True when the backend finished what it had to say.
    pub(crate) is_final: bool,
}
