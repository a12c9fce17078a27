//! How bytes move: one client's connection as its session sees it, messages in and packets out. What they mean is a codec's
//! ([`crate::protocol`]) to say.

pub mod engineio;
pub(crate) mod heartbeat;
pub mod namespaces;
pub mod outbox;
pub(crate) mod timer;
pub mod websocket;

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use outbox::{Framing, Outbox};

/// One client's connection. Its session owns the outbox, hands it in, and lets go of a transport whose end takes too long.
pub trait Transport: Send {
    /// How the outbox is to frame messages.
    fn framing(&self) -> Framing;

    /// The next message. A client that does not take what answers its own messages ([`Outbox::is_held`]) is not read further, so
    /// after a successful [`Transport::poll_send`] look here again.
    ///
    /// # Errors
    /// The connection is gone. After [`Incoming::Close`] or [`Incoming::Broken`] call [`Transport::poll_end`] only.
    fn poll_receive(
        &mut self,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Incoming>>;

    /// Writes until nothing waits.
    ///
    /// # Errors
    /// The connection is gone.
    fn poll_send(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Asks the client for a sign of life, before everything that has not begun.
    fn ping(&mut self, outbox: &mut Outbox);

    /// Begins the end behind everything that waits; once only. `code` and `reason` are those of RFC 6455, section 7.4.
    fn close(&mut self, outbox: &mut Outbox, code: u16, reason: &str);

    /// Carries the end through, once it has begun from either side.
    fn poll_end(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<()>;

    /// From now on a message of the client may have so many bytes.
    fn limit_messages(&mut self, bytes: usize);

    /// Bytes read from the client.
    fn bytes_read(&self) -> u64;

    /// Half of a ping's round trip, for a transport that watches by itself whether its client is there. `None`: its session does.
    fn one_way(&self) -> Option<Duration> {
        None
    }

    /// How many pings its client has answered, for such a transport; it may wrap.
    fn answered_pings(&self) -> u32 {
        0
    }

    /// The word in the admin API: `websocket` or `polling`.
    fn name(&self) -> &'static str {
        "websocket"
    }
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A text message; valid UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping; its pong is in the outbox.
    Ping,
    /// A pong.
    Pong,
    /// The client's half of the end, with its code; the answer is in the outbox.
    Close(Option<u16>),
    /// Something that no client may send: its connection is closed with this code. Nothing more can be read.
    Broken(u16),
}
