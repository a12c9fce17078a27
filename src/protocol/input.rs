//! What clients say.

use std::fmt;

use bytes::Bytes;
use serde_json::Value;

use super::tag::{EventTag, Tag};
use crate::json::Scalar;

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
                reply: None,
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
    pub name: String,
    /// What comes behind the name. An attachment stands as `{"_placeholder":true,"num":n}` there, where there are any.
    pub args: Vec<Value>,
    /// What the placeholders stand for, each number in range.
    pub attachments: Vec<Bytes>,
    /// The number of its acknowledgement, where it asks for one.
    pub ack: Option<u64>,
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
    /// The body is bytes, and no JSON.
    pub(crate) is_binary: bool,
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
