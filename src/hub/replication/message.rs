//! What one process sends another of a topic. Every member may come from a version that is not ours. Members may be added;
//! names on the wire are those of the first version.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::record::TopicRecord;
use crate::error::Code;
use crate::event::{
    Change, ChangeKind, Data, Draft, End, Epoch, Event, EventKind, GapWhy, Position,
};
use crate::hub::history::lineage::Epochs;
use crate::hub::history::stream::{Fresh, StreamState};
use crate::hub::history::transfer::{Delta, Imported};
use crate::hub::topic_state::Status;
use crate::json;

/// What is sent of one topic.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplicationMessage {
    /// It exists.
    #[serde(rename = "exists")]
    Begin(Box<TopicRecord>),
    /// What was published on it.
    #[serde(rename = "grown")]
    Append(Append),
    /// How it stands with its backend.
    #[serde(rename = "stands")]
    Status(Status),
    /// The follower is to open the backend's stream; the leader reads on until that is open.
    Overlap,
    /// The leader publishes no longer, and has sent everything.
    Released,
    /// It is over for good.
    #[serde(rename = "ended")]
    End(EndRecord),
    /// From a version to come.
    #[serde(other)]
    Unknown,
}

/// Entries of a log, the newest last.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Append {
    /// Offset of the first entry; where there is none, of the next one.
    first: u64,
    window: u64,
    entries: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Document>,
    #[serde(default)]
    stream: Stream,
    /// The epoch of what comes next, and earlier ones, each with the last offset that it names; where they are others than before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epochs: Option<(u32, Vec<(u32, u64)>)>,
}

/// What is known of the stream behind a log.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stream {
    /// The id that a client brought, and whether the stream began after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    brought: Option<(Arc<str>, bool)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_id: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fresh: Option<Beginning>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<u32>,
}

/// Where its last connection that began without `Last-Event-ID` begins.
#[derive(Debug, Serialize, Deserialize)]
struct Beginning {
    after: u64,
    age_ms: u64,
    /// From the head to the first event.
    first_ms: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(default, skip_serializing_if = "Form::is_event")]
    form: Form,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Arc<str>>,
    /// The id is an earlier event's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    inherits_id: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    data: String,
    /// Whether the data is JSON.
    #[serde(default)]
    json: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change: Option<Changed>,
    age_ms: u64,
}

/// See [`Change`].
#[derive(Debug, Serialize, Deserialize)]
struct Changed {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    #[default]
    Event,
    Snapshot,
    Gap {
        from: u64,
        why: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    data: String,
    json: bool,
    age_ms: u64,
}

/// How it ended; see [`End`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EndRecord {
    code: String,
    status: u16,
    retry_ms: Option<u64>,
    is_final: bool,
}

impl Append {
    pub(in crate::hub) fn write(delta: Delta<Arc<Event>>, now: Instant) -> Self {
        let age = |at: Instant| now.saturating_duration_since(at).as_millis() as u64;
        Append {
            first: delta.first,
            window: delta.window,
            entries: delta
                .entries
                .iter()
                .map(|event| Entry::write(event, age(event.at)))
                .collect(),
            document: delta.document.map(|(data, at)| Document {
                data: text(&data),
                json: matches!(data, Data::Json(_)),
                age_ms: age(at),
            }),
            stream: Stream::write(delta.stream, now),
            epochs: delta.epochs.map(|epochs| {
                let former = epochs.former.into_iter();
                (
                    epochs.now.0,
                    former.map(|(epoch, last)| (epoch.0, last)).collect(),
                )
            }),
        }
    }

    pub(in crate::hub) fn read(self, epoch: Epoch, now: Instant) -> Delta<Imported> {
        let entries = self.entries.into_iter().map(|entry| {
            let at = since(now, entry.age_ms);
            entry.read(epoch, at)
        });
        Delta {
            first: self.first,
            window: self.window,
            entries: entries.collect(),
            document: self.document.map(|document| {
                (
                    data(document.data, document.json),
                    since(now, document.age_ms),
                )
            }),
            stream: self.stream.read(now),
            epochs: self.epochs.map(|(now, former)| Epochs {
                now: Epoch(now),
                former: (former.into_iter())
                    .map(|(epoch, last)| (Epoch(epoch), last))
                    .collect(),
            }),
        }
    }
}

impl Stream {
    fn write(stream: StreamState, now: Instant) -> Self {
        let millis =
            |from: Instant, to: Instant| to.saturating_duration_since(from).as_millis() as u64;
        Stream {
            brought: stream.brought,
            last_id: stream.last_id,
            gone: stream.gone,
            fresh: stream.fresh.map(|fresh| Beginning {
                after: fresh.after,
                age_ms: millis(fresh.head_at, now),
                first_ms: fresh
                    .first_at
                    .map(|first_at| millis(fresh.head_at, first_at)),
            }),
        }
    }

    fn read(self, now: Instant) -> StreamState {
        let fresh = self.fresh.map(|fresh| {
            let head_at = since(now, fresh.age_ms);
            let later = |ms| head_at.checked_add(Duration::from_millis(ms));
            Fresh {
                after: fresh.after,
                head_at,
                first_at: fresh.first_ms.and_then(later),
            }
        });
        StreamState {
            brought: self.brought,
            last_id: self.last_id,
            fresh,
            gone: self.gone,
        }
    }
}

impl Entry {
    fn write(event: &Event, age_ms: u64) -> Self {
        Entry {
            form: match event.kind {
                EventKind::Event => Form::Event,
                EventKind::Snapshot => Form::Snapshot,
                EventKind::Gap { from, why } => Form::Gap {
                    from: from.offset,
                    why: why.as_str().to_owned(),
                },
            },
            name: event.name.clone(),
            id: event.id.clone(),
            inherits_id: event.id.is_some() && !event.has_own_id,
            data: text(&event.data),
            json: matches!(event.data, Data::Json(_)),
            change: event.change.as_ref().map(Changed::write),
            age_ms,
        }
    }

    fn read(self, epoch: Epoch, at: Instant) -> Imported {
        let kind = match self.form {
            Form::Event => EventKind::Event,
            Form::Snapshot => EventKind::Snapshot,
            Form::Gap { from, why } => EventKind::Gap {
                from: Position {
                    epoch,
                    offset: from,
                },
                why: GapWhy::ALL
                    .into_iter()
                    .find(|known| known.as_str() == why)
                    .unwrap_or(GapWhy::UpstreamReconnect),
            },
        };
        let draft = Draft {
            name: self.name,
            has_own_id: self.id.is_some() && !self.inherits_id,
            id: self.id,
            data: data(self.data, self.json),
            change: self.change.and_then(Changed::read),
        };
        (kind, draft, at)
    }
}

impl Changed {
    fn write(change: &Change) -> Self {
        let before = change.before.as_deref();
        Changed {
            kind: change.kind.as_str().to_owned(),
            before: before.map(|before| String::from_utf8_lossy(before).into_owned()),
        }
    }

    fn read(self) -> Option<Change> {
        let kind = ChangeKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == self.kind)?;
        let before = self.before.map(String::into_bytes);
        Some(Change {
            kind,
            before: before.filter(|text| json::is_json(text)).map(Arc::from),
        })
    }
}

impl Form {
    fn is_event(&self) -> bool {
        *self == Form::Event
    }
}

impl EndRecord {
    pub(in crate::hub) fn write(end: &End) -> Self {
        EndRecord {
            code: end.code.as_str().to_owned(),
            status: end.status,
            retry_ms: end.retry_ms,
            is_final: end.is_final,
        }
    }

    pub(in crate::hub) fn read(self) -> End {
        let code = Code::ALL
            .into_iter()
            .find(|code| code.as_str() == self.code);
        End {
            code: code.unwrap_or(Code::Internal),
            status: self.status,
            retry_ms: self.retry_ms,
            is_final: self.is_final,
        }
    }
}

fn since(now: Instant, age_ms: u64) -> Instant {
    let age = Duration::from_millis(age_ms);
    now.checked_sub(age).unwrap_or(now)
}

/// A payload's text; it is UTF-8 always.
fn text(data: &Data) -> String {
    String::from_utf8_lossy(data.bytes()).into_owned()
}

/// JSON only where it was so already and still is: it goes into frames as it stands.
fn data(text: String, is_json: bool) -> Data {
    match is_json {
        true => Data::classify(Bytes::from(text)),
        false => Data::Text(Bytes::from(text)),
    }
}
