//! One namespace's part of a connection: an inbox of its own, and the way out that all share.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::transport::engineio::UpgradePermit;
use crate::transport::outbox::{Framing, Outbox};
use crate::transport::{Incoming, Transport};

/// Bytes that wait for the client before a socket keeps what it has.
const FULL: usize = 256 * 1024;

/// Messages and bytes that one socket leaves unread before the connection is not read any further.
const UNREAD_MESSAGES: usize = 1_000;
const UNREAD_BYTES: usize = 256 * 1024;

/// What all sockets of a connection share. The connection's task alone uses it, so its lock is always free.
pub(super) struct Shared {
    pub(super) outbox: Outbox,
    /// The client did not take all of the last write.
    pub(super) is_stalled: bool,
    /// A socket has kept something, for want of room.
    pub(super) is_wanted: bool,
    /// The connection is over, or ending.
    pub(super) is_gone: bool,
    /// A socket ends the whole connection: code and reason.
    pub(super) close: Option<(u16, String)>,
    /// Half of the last ping's round trip.
    pub(super) one_way: Duration,
    /// Pings that were answered.
    pub(super) answered_pings: u32,
    /// Whether the client may leave polling.
    pub(super) upgrade: UpgradePermit,
    /// What moves the bytes now.
    pub(super) carrier: &'static str,
}

impl Shared {
    pub(super) fn new(outbox: Outbox, carrier: &'static str) -> Self {
        Shared {
            outbox,
            is_stalled: false,
            is_wanted: false,
            is_gone: false,
            close: None,
            one_way: Duration::ZERO,
            answered_pings: 0,
            upgrade: UpgradePermit::default(),
            carrier,
        }
    }
}

/// What came for one socket, and how large a message of it may be.
pub(super) struct Inbox {
    messages: VecDeque<Incoming>,
    bytes: usize,
    /// Bytes of the newest packet, with its attachments.
    packet: usize,
    max_message: usize,
    read: u64,
}

impl Default for Inbox {
    fn default() -> Self {
        Inbox {
            messages: VecDeque::new(),
            bytes: 0,
            packet: 0,
            max_message: usize::MAX,
            read: 0,
        }
    }
}

impl Inbox {
    /// False where the packet that it belongs to is too large.
    pub(super) fn push(&mut self, message: Incoming) -> bool {
        let size = size(&message);
        self.bytes += size;
        self.read += size as u64;
        self.packet = match message {
            Incoming::Binary(_) => self.packet + size,
            _ => size,
        };
        self.messages.push_back(message);
        self.packet <= self.max_message
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= UNREAD_MESSAGES || self.bytes >= UNREAD_BYTES
    }

    fn pop(&mut self) -> Option<Incoming> {
        let message = self.messages.pop_front()?;
        self.bytes -= size(&message);
        if self.messages.is_empty() {
            // An idle socket keeps no room.
            self.messages = VecDeque::new();
        }
        Some(message)
    }
}

fn size(message: &Incoming) -> usize {
    match message {
        Incoming::Text(bytes) | Incoming::Binary(bytes) => bytes.len(),
        Incoming::Ping | Incoming::Pong | Incoming::Close(_) | Incoming::Broken(_) => 0,
    }
}

/// Says whether a connection's client may leave polling. Cheap to clone.
#[derive(Clone)]
pub struct UpgradeGate(Arc<Mutex<Shared>>);

impl UpgradeGate {
    /// Lets the client leave polling, unless one of its sockets keeps it there.
    pub(crate) fn open(&self) {
        let mut shared = lock(&self.0);
        if shared.upgrade == UpgradePermit::Held {
            shared.upgrade = UpgradePermit::Allowed;
        }
    }

    /// Keeps the client where it is.
    pub(crate) fn shut(&self) {
        lock(&self.0).upgrade = UpgradePermit::Refused;
    }

    /// Whether the client polls now.
    pub(crate) fn polls(&self) -> bool {
        lock(&self.0).carrier == "polling"
    }
}

impl fmt::Debug for UpgradeGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpgradeGate")
    }
}

/// See the module. It closes its connection for every close code but 1000, which is the socket's own end.
pub struct NamespaceTransport {
    shared: Arc<Mutex<Shared>>,
    inbox: Arc<Mutex<Inbox>>,
}

impl NamespaceTransport {
    pub(super) fn new(shared: Arc<Mutex<Shared>>, inbox: Arc<Mutex<Inbox>>) -> Self {
        NamespaceTransport { shared, inbox }
    }

    /// For what decides whether the client may leave polling.
    pub(crate) fn upgrade_gate(&self) -> UpgradeGate {
        UpgradeGate(self.shared.clone())
    }
}

impl Transport for NamespaceTransport {
    fn framing(&self) -> Framing {
        Framing::WebSocket
    }

    fn poll_receive(&mut self, _: &mut Outbox, _: &mut Context<'_>) -> Poll<io::Result<Incoming>> {
        match lock(&self.inbox).pop() {
            Some(message) => Poll::Ready(Ok(message)),
            None if lock(&self.shared).is_gone => {
                Poll::Ready(Err(ErrorKind::ConnectionAborted.into()))
            }
            None => Poll::Pending,
        }
    }

    fn poll_send(&mut self, outbox: &mut Outbox, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.shared);
        if shared.is_stalled || shared.outbox.bytes() >= FULL {
            shared.is_wanted |= !outbox.is_empty();
            return match outbox.is_empty() {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            };
        }
        shared.outbox.take_from(outbox);
        Poll::Ready(Ok(()))
    }

    /// The connection pings for all.
    fn ping(&mut self, _: &mut Outbox) {}

    fn close(&mut self, outbox: &mut Outbox, code: u16, reason: &str) {
        outbox.seal();
        if code != 1000 {
            let close = (code, reason.to_owned());
            lock(&self.shared).close.get_or_insert(close);
        }
    }

    fn poll_end(&mut self, outbox: &mut Outbox, _: &mut Context<'_>) -> Poll<()> {
        lock(&self.shared).outbox.take_from(outbox);
        Poll::Ready(())
    }

    fn limit_messages(&mut self, bytes: usize) {
        lock(&self.inbox).max_message = bytes;
    }

    fn bytes_read(&self) -> u64 {
        lock(&self.inbox).read
    }

    fn one_way(&self) -> Option<Duration> {
        Some(lock(&self.shared).one_way)
    }

    fn answered_pings(&self) -> u32 {
        lock(&self.shared).answered_pings
    }

    fn name(&self) -> &'static str {
        lock(&self.shared).carrier
    }
}

/// A lock whose holder panicked is still a lock: what it guards is valid between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
