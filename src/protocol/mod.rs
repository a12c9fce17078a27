//! What a realtime client's messages mean: messages in, packets out. How they move is a transport's matter
//! ([`crate::transport`]).

mod bounds;
// Until a transport speaks it.
#[allow(dead_code)]
pub mod engineio;
#[cfg(test)]
mod example;
pub mod json;
pub(crate) mod raw;
#[allow(dead_code)]
pub mod socketio;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::config::Route;
use crate::error::{Code, Refusal};
use crate::event::{End, Event, Position, State};
use crate::json::Scalar;
use crate::packet::Packet;

/// How one client speaks; it may keep state for its session. Packets go to `send`: none where the protocol has no word for what
/// is said, and as many as it takes.
pub trait Codec: Send {
    /// The word in metrics and the admin API.
    fn name(&self) -> &'static str;

    /// What a client's message means, in its order.
    ///
    /// # Errors
    /// The message, or the rest of it, was not understood or is not allowed here.
    fn decode(&mut self, message: Message<'_>, inputs: &mut Vec<Input>) -> Result<(), Violation>;

    /// What the session says beside events.
    fn encode(&mut self, output: &Output<'_>, send: &mut dyn FnMut(Packet));

    /// A log entry, as this subscriber is to see it: encoded once for all subscribers that see the same bytes.
    fn event(&mut self, event: &Event, view: EventView<'_>, send: &mut dyn FnMut(Packet));

    /// Whether clients get loss, staleness and ends in words, or by close codes only.
    fn has_words(&self) -> bool;

    /// Whether clients can distinguish a patch from a whole document.
    fn tells_patches(&self) -> bool {
        self.has_words()
    }
}

/// One message of a client, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Valid UTF-8.
    Text(&'a [u8]),
    /// Anything.
    Binary(&'a [u8]),
}

/// What one subscriber sees differently from the rest.
#[derive(Clone, Copy, Debug)]
pub struct EventView<'a> {
    /// The channel number that the client knows; a moved subscription keeps its own.
    pub(crate) ch: u32,
    /// The route that it subscribed to.
    pub(crate) route: &'a Route,
    /// The path and query that it subscribed to.
    pub(crate) path: &'a str,
    /// JSON in place of the event's own data (a filtered snapshot).
    pub(crate) data: Option<&'a [u8]>,
}

/// How a client matches answers with its messages. The session gives it back as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tag {
    /// It wants no answer, or cannot match it.
    #[default]
    None,
    /// `id` of `crossfade.v1.json`.
    Number(u64),
    /// An event of Socket.IO. Boxed because most tags are numbers.
    Event(Box<EventTag>),
}

/// How a client of Socket.IO is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTag {
    /// The number of its acknowledgement, where it asked for one.
    pub(crate) ack: Option<u64>,
    /// The event's name.
    pub(crate) event: Arc<str>,
    /// The event that tells a refusal where no acknowledgement does.
    pub(crate) error: Option<Arc<str>>,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// First message with credentials, or a later `auth`.
    Hello {
        /// For the answer.
        id: Tag,
        /// Bearer token.
        token: Option<String>,
    },
    /// Subscribe.
    Sub {
        /// For the answer.
        id: Tag,
        /// Path and query as on the public address.
        path: String,
        /// Resume after this position (unparsed: a foreign one is a gap, not an error).
        after: Option<String>,
        /// Resume after this event id.
        last_event_id: Option<String>,
        /// Field → accepted values.
        filter: Vec<(String, Vec<Scalar>)>,
    },
    /// Leave a channel.
    Unsub {
        /// For the answer.
        id: Tag,
        /// Channel.
        ch: u32,
    },
    /// Hold a channel.
    Pause {
        /// For the answer.
        id: Tag,
        /// Channel.
        ch: u32,
    },
    /// Go on with a channel.
    Resume {
        /// For the answer.
        id: Tag,
        /// Channel.
        ch: u32,
    },
    /// A request to the backend.
    Req(Req),
    /// New credentials.
    Auth {
        /// For the answer.
        id: Tag,
        /// Bearer token.
        token: String,
    },
    /// Answer with a pong.
    Ping,
    /// An answer to ours.
    Pong,
    /// A client of Socket.IO joins its namespace.
    Connect(Connect),
    /// A client's event, of Socket.IO.
    Event(ClientEvent),
    /// A client of Socket.IO leaves its namespace.
    Leave,
}

impl Input {
    /// What the answer has to bear.
    pub(crate) fn id(&self) -> Tag {
        match self {
            Input::Hello { id, .. }
            | Input::Sub { id, .. }
            | Input::Unsub { id, .. }
            | Input::Pause { id, .. }
            | Input::Resume { id, .. }
            | Input::Auth { id, .. } => id.clone(),
            Input::Req(request) => request.id.clone(),
            Input::Event(event) => Tag::Event(Box::new(EventTag {
                ack: event.ack,
                event: event.name.as_str().into(),
                error: None,
            })),
            Input::Ping | Input::Pong | Input::Connect(_) | Input::Leave => Tag::None,
        }
    }
}

/// What a client of Socket.IO presents to its namespace: the texts among the members of its `auth`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Connect {
    /// Bearer token.
    pub(crate) token: Option<String>,
    /// What goes against forged requests.
    pub(crate) csrf: Option<String>,
    /// The secret of a session that it had before.
    pub(crate) pid: Option<String>,
    /// The position that it saw last.
    pub(crate) offset: Option<String>,
}

/// Without the secrets.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").finish_non_exhaustive()
    }
}

/// An event that a client sends.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientEvent {
    /// Its name.
    pub(crate) name: String,
    /// What comes behind the name. An attachment stands as `{"_placeholder":true,"num":n}` there, where there are any.
    pub(crate) args: Vec<Value>,
    /// What the placeholders stand for, each number in range.
    pub(crate) attachments: Vec<Bytes>,
    /// The number of its acknowledgement, where it asks for one.
    pub(crate) ack: Option<u64>,
}

/// A client's request upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Req {
    /// For the answer.
    pub(crate) id: Tag,
    /// HTTP method.
    pub(crate) method: String,
    /// Path and query as on the public address.
    pub(crate) path: String,
    /// Header fields the client asks for.
    pub(crate) headers: Vec<(String, String)>,
    /// JSON body.
    pub(crate) body: Option<Bytes>,
    /// Idempotency key.
    pub(crate) key: Option<String>,
}

/// Why a message was not understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Violation {
    /// Answer with `err` (`bad_frame`, this id where it was readable).
    Frame {
        /// For the answer, as far as it was readable.
        id: Tag,
        /// What is wrong.
        detail: String,
    },
    /// Close the connection with this code.
    Close {
        /// Close code.
        code: u16,
        /// Reason.
        reason: &'static str,
    },
}

/// Bytes of a client that are no packet of its protocol, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPacket(pub &'static str);

/// What the sidecar says beside events.
#[derive(Clone, Debug)]
pub enum Output<'a> {
    /// First frame.
    Welcome {
        /// Connection id.
        conn: &'a str,
        /// Instance id.
        node: &'a str,
        /// Ping interval, ms.
        ping_ms: u64,
        /// Ping timeout, ms.
        timeout_ms: u64,
        /// Largest message, bytes.
        max_bytes: usize,
        /// Subscriptions.
        max_subs: usize,
        /// Token's end, Unix seconds.
        auth_exp: Option<u64>,
    },
    /// A request was granted; `sub` has the rest.
    Ok {
        /// The request's.
        id: &'a Tag,
        /// Channel, head and completeness for `sub`.
        sub: Option<(u32, Position, bool)>,
    },
    /// A request was not.
    Err {
        /// The request's.
        id: &'a Tag,
        /// What and why.
        refusal: &'a Refusal,
    },
    /// Live or stale.
    State {
        /// Channel.
        ch: u32,
        /// The path and query that it was subscribed by.
        path: &'a str,
        /// Value.
        state: &'a State,
    },
    /// A call's answer.
    Res {
        /// The request's.
        id: &'a Tag,
        /// HTTP status.
        status: u16,
        /// Header fields.
        headers: &'a [(String, String)],
        /// Body.
        body: ResBody<'a>,
    },
    /// A subscription is over.
    End {
        /// Channel.
        ch: u32,
        /// The path and query that it was subscribed by.
        path: &'a str,
        /// How.
        end: &'a End,
    },
    /// For people.
    Notice {
        /// `info`, `warn`, `error`.
        level: &'a str,
        /// Text.
        msg: &'a str,
        /// JSON.
        d: Option<&'a serde_json::value::RawValue>,
    },
    /// Leave soon.
    Drain {
        /// Until the close, ms.
        in_ms: u64,
        /// Range to come back in, ms.
        retry_ms: (u64, u64),
        /// `same`, `native`, `polling` or `legacy`.
        next: &'a str,
        /// Why.
        why: &'a str,
        /// Where a client that goes on elsewhere begins there.
        at: &'a [DrainedAt<'a>],
    },
    /// Heartbeat.
    Ping,
    /// Answer to a heartbeat.
    Pong,
    /// A client of Socket.IO has joined its namespace.
    Connected {
        /// The id of its session there.
        sid: &'a str,
        /// The secret by which it comes back, where it may.
        pid: Option<&'a str>,
    },
    /// A client of Socket.IO may not join its namespace.
    Refused {
        /// What it is.
        code: Code,
        /// The HTTP status that goes with it.
        status: u16,
        /// The close code that says what the client is to do.
        close: u16,
        /// For people.
        message: &'a str,
    },
    /// An event of the sidecar's own, of Socket.IO.
    Emit {
        /// Its name.
        event: &'a str,
        /// What comes behind the name, each a JSON text.
        args: &'a [&'a [u8]],
    },
}

/// How far a client has read one of its subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainedAt<'a> {
    /// The path and query that it was subscribed by.
    pub(crate) path: &'a str,
    /// The last event id that it saw, where there is one.
    pub(crate) id: Option<&'a str>,
    /// The last position that it saw.
    pub(crate) o: Position,
}

/// A call's answer body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ResBody<'a> {
    /// None.
    Empty,
    /// JSON text.
    Json(&'a [u8]),
    /// UTF-8 text.
    Text(&'a str),
    /// Anything else (base64 on the wire).
    Binary(&'a [u8]),
}
