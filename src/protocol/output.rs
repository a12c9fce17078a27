//! What the sidecar says beside events.

use super::tag::Tag;
use crate::error::{Code, Refusal};
use crate::event::{End, Position, State};

/// See the module.
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
        /// What comes behind the name.
        body: ResBody<'a>,
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

/// A call's answer body, or what an event bears.
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

impl ResBody<'_> {
    /// Its bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            ResBody::Empty => 0,
            ResBody::Text(text) => text.len(),
            ResBody::Json(bytes) | ResBody::Binary(bytes) => bytes.len(),
        }
    }
}
