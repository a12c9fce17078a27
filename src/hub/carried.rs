//! How a topic is told of to another process: every member may come from a version that is not ours, so all is checked anew
//! where it arrives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::key::{Owner, Principal, Scope, Target};
use super::log::carry::{Arrival, Arrived, Extract};
use super::log::stream::{Fresh, Handed};
use super::{Credentials, TopicKey};
use crate::config::Route;
use crate::error::Code;
use crate::event::{Change, ChangeKind, Data, Draft, End, Epoch, Event, GapWhy, Kind, Position};
use crate::json;

/// What is told of one topic.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// It exists.
    Exists(Box<Topic>),
    /// What was published on it.
    Grown(Grown),
    /// How it stands with its backend.
    Stands(Standing),
    /// Whoever hears this is to open the backend's stream; the old process reads on until that is open.
    Overlap,
    /// The old process reads it no longer, and has told everything.
    Released,
    /// It is over for good.
    Ended(Ended),
    /// From a version to come.
    #[serde(other)]
    Unknown,
}

/// A topic's identity, and what reading it takes.
#[derive(Serialize, Deserialize)]
pub struct Topic {
    route: String,
    /// The route's fingerprint: where it differs the topic is another one.
    reads: String,
    params: Vec<(String, String)>,
    url: String,
    host: Text,
    proto: String,
    vary: Vec<(String, Text)>,
    scope: Whose,
    #[serde(default)]
    owner: Owner,
    epoch: u32,
    cookie: Option<Text>,
    authorization: Option<Text>,
    #[serde(default)]
    identity: Vec<(String, Text)>,
}

/// A [`Scope`] that may be handed over: connections are not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Whose {
    Public,
    /// Everything that the credentials are.
    User(Text),
    /// Somebody whom an `[auth]` knows: the old process has seen to that.
    Subject(Text),
    /// Those with the same claims, likewise.
    Claims(Text),
    /// All users that one policy admits, likewise.
    Authenticated(Text),
}

/// Bytes, as base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Text(String);

/// Entries of a log, the newest last.
#[derive(Debug, Serialize, Deserialize)]
pub struct Grown {
    /// Offset of the first entry; where there is none, of the next one.
    first: u64,
    window: u64,
    entries: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Document>,
    #[serde(default)]
    stream: Stream,
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

/// How a topic stands with its backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The backend has answered, or is known not to.
    pub is_open: bool,
    /// See [`crate::event::State::live`].
    pub live: bool,
    /// See [`crate::event::State::why`].
    pub why: Option<String>,
    /// See [`crate::event::State::since`].
    pub since: u64,
    /// Unix seconds of the last success.
    pub last_ok: Option<u64>,
}

/// How it ended; see [`End`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Ended {
    code: String,
    status: u16,
    retry_ms: Option<u64>,
    is_final: bool,
}

/// What a [`Topic`] comes to here.
pub(super) struct Identity {
    pub key: TopicKey,
    pub target: Arc<Target>,
    pub credentials: Credentials,
    pub epoch: Epoch,
}

impl Topic {
    /// Writes a topic's identity down; `None` where it cannot be another process's: connections stay where they are.
    pub(super) fn write(
        key: &TopicKey,
        target: &Target,
        credentials: &Credentials,
        owner: Owner,
        epoch: Epoch,
    ) -> Option<Self> {
        let vary = target.vary.iter();
        Some(Topic {
            route: target.route.name.to_string(),
            reads: key.reads.to_string(),
            params: target.params.clone(),
            url: target.url.clone(),
            host: Text::of(target.host.as_bytes()),
            proto: target.proto.to_owned(),
            vary: vary
                .map(|(name, value)| (name.to_string(), Text::of(value.as_bytes())))
                .collect(),
            scope: match target.scope {
                Scope::Public => Whose::Public,
                Scope::User(Principal(hash)) if target.route.auth.is_empty() => {
                    Whose::User(Text::of(&hash))
                }
                Scope::User(Principal(hash)) => Whose::Subject(Text::of(&hash)),
                Scope::Claims(Principal(hash)) => Whose::Claims(Text::of(&hash)),
                Scope::Authenticated(Principal(hash)) => Whose::Authenticated(Text::of(&hash)),
                Scope::Connection(_) => return None,
            },
            owner,
            epoch: epoch.0,
            cookie: credentials.cookie.as_ref().map(Text::of_value),
            authorization: credentials.authorization.as_ref().map(Text::of_value),
            identity: (credentials.identity.iter())
                .map(|(name, value)| (name.to_string(), Text::of_value(value)))
                .collect(),
        })
    }

    /// Reads it back, on the routes that are configured here. `None` where a route reads something else now, or where anything
    /// does not fit together: credentials that are not the principal's above all.
    pub(super) fn read(&self, find: impl FnOnce(&str) -> Option<Arc<Route>>) -> Option<Identity> {
        let route = find(&self.route).filter(|route| route.source.is_some())?;
        let value = |text: &Text| HeaderValue::from_bytes(&text.bytes()?).ok();
        let optional = |text: &Option<Text>| match text {
            Some(text) => value(text).map(Some),
            None => Some(None),
        };
        let fields = |fields: &[(String, Text)]| {
            let field = |(name, text): &(String, Text)| {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                Some((name, value(text)?))
            };
            fields.iter().map(field).collect::<Option<Vec<_>>>()
        };
        let credentials = Credentials {
            cookie: optional(&self.cookie)?,
            authorization: optional(&self.authorization)?,
            identity: fields(&self.identity)?,
        };
        let principal = |hash: &Text| Some(Principal(hash.bytes()?.try_into().ok()?));
        // What was found out by authentication there holds only where there is authentication here, and the other way round.
        let is_known = !route.auth.is_empty();
        let scope = match &self.scope {
            Whose::Public if credentials == Credentials::default() => Scope::Public,
            Whose::User(hash) if !is_known => Scope::User(principal(hash)?),
            Whose::Subject(hash) if is_known => Scope::User(principal(hash)?),
            Whose::Claims(hash) if is_known => Scope::Claims(principal(hash)?),
            Whose::Authenticated(hash) if is_known => Scope::Authenticated(principal(hash)?),
            Whose::Public
            | Whose::User(_)
            | Whose::Subject(_)
            | Whose::Claims(_)
            | Whose::Authenticated(_) => return None,
        };
        let is_anonymous = matches!(self.scope, Whose::User(_));
        if is_anonymous && scope != Scope::User(credentials.principal()) {
            return None;
        }
        let target = Target {
            params: self.params.clone(),
            url: self.url.clone(),
            host: value(&self.host)?,
            proto: ["http", "https"].into_iter().find(|p| *p == self.proto)?,
            vary: fields(&self.vary)?,
            scope,
            owner: self.owner,
            route,
        };
        let key = TopicKey::of(&target);
        let is_read = *key.reads == *self.reads && target.route.read_url(&self.url) == self.url;
        is_read.then(|| Identity {
            key,
            target: Arc::new(target),
            credentials,
            epoch: Epoch(self.epoch),
        })
    }
}

impl std::fmt::Debug for Topic {
    /// Without its credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topic")
            .field("route", &self.route)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Text {
    fn of(bytes: &[u8]) -> Self {
        Text(STANDARD.encode(bytes))
    }

    fn of_value(value: &HeaderValue) -> Self {
        Text::of(value.as_bytes())
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.0).ok()
    }
}

impl Grown {
    pub(super) fn write(extract: Extract, now: Instant) -> Self {
        let age = |at: Instant| now.saturating_duration_since(at).as_millis() as u64;
        Grown {
            first: extract.first,
            window: extract.window,
            entries: extract
                .entries
                .iter()
                .map(|event| Entry::write(event, age(event.at)))
                .collect(),
            document: extract.document.map(|(data, at)| Document {
                data: text(&data),
                json: matches!(data, Data::Json(_)),
                age_ms: age(at),
            }),
            stream: Stream::write(extract.stream, now),
        }
    }

    pub(super) fn read(self, epoch: Epoch, now: Instant) -> Arrival {
        let entries = self.entries.into_iter().map(|entry| {
            let at = since(now, entry.age_ms);
            entry.read(epoch, at)
        });
        Arrival {
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
        }
    }
}

impl Stream {
    fn write(stream: Handed, now: Instant) -> Self {
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

    fn read(self, now: Instant) -> Handed {
        let fresh = self.fresh.map(|fresh| {
            let head_at = since(now, fresh.age_ms);
            let later = |ms| head_at.checked_add(Duration::from_millis(ms));
            Fresh {
                after: fresh.after,
                head_at,
                first_at: fresh.first_ms.and_then(later),
            }
        });
        Handed {
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
                Kind::Event => Form::Event,
                Kind::Snapshot => Form::Snapshot,
                Kind::Gap { from, why } => Form::Gap {
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

    fn read(self, epoch: Epoch, at: Instant) -> Arrived {
        let kind = match self.form {
            Form::Event => Kind::Event,
            Form::Snapshot => Kind::Snapshot,
            Form::Gap { from, why } => Kind::Gap {
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

impl Ended {
    pub(super) fn write(end: &End) -> Self {
        Ended {
            code: end.code.as_str().to_owned(),
            status: end.status,
            retry_ms: end.retry_ms,
            is_final: end.is_final,
        }
    }

    pub(super) fn read(self) -> End {
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
