//! The sockets of one Socket.IO client: each namespace that it has joined is a transport by itself, and all of them move over one
//! Engine.IO connection, in one task, with one write per wake.

mod event_name;
mod transport;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::engineio::{EngineIo, UpgradePermit};
use super::outbox::Outbox;
use super::timer::Timer;
use super::{Incoming, Transport};
use crate::protocol::socketio::packet::{self, PacketHead, PacketKind};
use transport::{Inbox, Shared, lock};
pub use transport::{NamespaceTransport, UpgradeGate};

/// Messages of the client in one round.
const READS: usize = 32;

/// Rounds before other tasks have their turn.
const ROUNDS: usize = 8;

/// Namespaces of one connection.
const MOST: usize = 64;

/// How long the closing handshake may take.
const CLOSING: Duration = Duration::from_secs(3);

/// What a namespace's socket does until its end.
pub type SocketTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What there is to join.
pub trait Namespaces: Send {
    /// A client asks for a namespace. Its packets come over the transport, the CONNECT first. `None` where there is none of that name.
    fn join(&mut self, namespace: &str, transport: NamespaceTransport) -> Option<SocketTask>;

    /// Whether a client may leave polling only when a socket has said so ([`UpgradeGate`]).
    fn holds_upgrades(&self) -> bool {
        false
    }
}

/// See the module. A future that ends with the connection.
pub struct NamespaceConnection {
    engine: EngineIo,
    shared: Arc<Mutex<Shared>>,
    namespaces: Box<dyn Namespaces>,
    sockets: Vec<Joined>,
    /// Namespaces whose sockets have ended: what the client has sent there since may be on its way still.
    left: Vec<Box<str>>,
    /// Whose binary attachments come next, and how many.
    attachments: Option<(Box<str>, usize)>,
    /// When the first CONNECT must have come.
    join_until: Option<Instant>,
    /// When the closing handshake has taken too long.
    closing_until: Option<Instant>,
    timer: Timer,
}

struct Joined {
    namespace: Box<str>,
    inbox: Arc<Mutex<Inbox>>,
    socket: SocketTask,
}

impl NamespaceConnection {
    /// `outbox` holds what goes out first. The client has so long for its first CONNECT.
    pub fn new(
        engine: EngineIo,
        outbox: Outbox,
        namespaces: Box<dyn Namespaces>,
        join_within: Duration,
    ) -> Self {
        let now = Instant::now();
        let mut shared = Shared::new(outbox, engine.carrier());
        if namespaces.holds_upgrades() {
            shared.upgrade = UpgradePermit::Held;
        }
        NamespaceConnection {
            shared: Arc::new(Mutex::new(shared)),
            engine,
            namespaces,
            sockets: Vec::new(),
            left: Vec::new(),
            attachments: None,
            join_until: Some(now + join_within),
            closing_until: None,
            timer: Timer::new(now),
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            if let Some(until) = self.closing_until {
                return self.end(until, cx);
            }
            let mut has_more = match self.read(cx) {
                Ok(has_more) => has_more,
                Err(()) => {
                    lock(&self.shared).is_gone = true;
                    self.run_sockets(cx);
                    return Poll::Ready(());
                }
            };
            if self.closing_until.is_some() {
                continue;
            }
            if self.engine.is_polled() {
                // What the sockets have kept since the last poll answers this one.
                lock(&self.shared).is_stalled = false;
            }
            let was_full = self.is_any_full();
            self.run_sockets(cx);
            // A socket that has read on makes room: only then the connection asks to be woken for more.
            has_more |= was_full && !self.is_any_full();
            let now = Instant::now();
            let close = lock(&self.shared).close.take();
            if let Some((code, reason)) = close {
                self.close(code, &reason, now);
                continue;
            }
            if self.join_until.is_some_and(|until| now >= until) {
                self.close(4008, "no CONNECT in time", now);
                continue;
            }
            let mut shared = lock(&self.shared);
            match self.engine.poll_send(&mut shared.outbox, cx) {
                Poll::Ready(Ok(())) => {
                    // What the sockets have kept meanwhile comes next.
                    let goes_on = std::mem::take(&mut shared.is_stalled) || shared.is_wanted;
                    shared.is_wanted = false;
                    if goes_on || has_more {
                        continue;
                    }
                }
                Poll::Ready(Err(_)) => {
                    shared.is_gone = true;
                    drop(shared);
                    self.run_sockets(cx);
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    shared.is_stalled = true;
                    if has_more {
                        continue;
                    }
                }
            }
            drop(shared);
            match self.join_until {
                Some(until) => ready!(self.timer.poll_until(until, now, cx)),
                None => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hands the client's messages to its sockets. Returns whether there may be more; an error means that the client is gone.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, ()> {
        for _ in 0..READS {
            if self.is_any_full() {
                return Ok(false);
            }
            let incoming = {
                let mut shared = lock(&self.shared);
                self.engine.set_upgrade(shared.upgrade);
                let incoming = self.engine.poll_receive(&mut shared.outbox, cx);
                shared.one_way = self.engine.heartbeat().one_way();
                shared.answered_pings = self.engine.heartbeat().answered();
                shared.carrier = self.engine.carrier();
                incoming
            };
            match incoming {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(_)) => return Err(()),
                Poll::Ready(Ok(Incoming::Text(text))) => self.take_text(text),
                Poll::Ready(Ok(Incoming::Binary(bytes))) => self.take_binary(bytes),
                Poll::Ready(Ok(Incoming::Ping | Incoming::Pong)) => {}
                Poll::Ready(Ok(end @ (Incoming::Close(_) | Incoming::Broken(_)))) => {
                    for joined in &self.sockets {
                        lock(&joined.inbox).push(end.clone());
                    }
                    self.closing_until = Some(Instant::now() + CLOSING);
                    return Ok(false);
                }
            }
            if lock(&self.shared).close.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a socket has so much unread that the connection is not read any further.
    fn is_any_full(&self) -> bool {
        let mut sockets = self.sockets.iter();
        sockets.any(|joined| lock(&joined.inbox).is_full())
    }

    fn take_text(&mut self, text: Bytes) {
        let Ok(head) = PacketHead::parse(&text) else {
            return self.refuse("no packet of Socket.IO");
        };
        if self.attachments.is_some() {
            return self.refuse("attachments are missing");
        }
        let known = self.find(head.namespace);
        match (head.kind, known) {
            (PacketKind::Connect, None) => {
                let namespace: Box<str> = head.namespace.into();
                self.join(namespace, text);
            }
            (_, None) if self.left.iter().any(|left| **left == *head.namespace) => {
                if head.attachments > 0 {
                    self.attachments = Some((head.namespace.into(), head.attachments));
                }
            }
            (PacketKind::Connect, Some(_)) | (_, None) => {
                self.refuse("a packet for a namespace that is not joined");
            }
            (_, Some(index)) => {
                if head.attachments > 0 {
                    self.attachments = Some((head.namespace.into(), head.attachments));
                }
                self.hand_over(index, Incoming::Text(text));
            }
        }
    }

    fn take_binary(&mut self, bytes: Bytes) {
        let Some((namespace, left)) = self.attachments.take() else {
            return self.refuse("an attachment of nothing");
        };
        let index = self.find(&namespace);
        if left > 1 {
            self.attachments = Some((namespace, left - 1));
        }
        // A socket that has ended since misses nothing.
        if let Some(index) = index {
            self.hand_over(index, Incoming::Binary(bytes));
        }
    }

    fn hand_over(&mut self, index: usize, message: Incoming) {
        let Some(joined) = self.sockets.get(index) else {
            return;
        };
        if !lock(&joined.inbox).push(message) {
            lock(&self.shared)
                .close
                .get_or_insert((4009, "too big".into()));
        }
    }

    fn join(&mut self, namespace: Box<str>, connect: Bytes) {
        self.join_until = None;
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let socket = match self.sockets.len() {
            MOST.. => None,
            _ => {
                let transport = NamespaceTransport::new(self.shared.clone(), inbox.clone());
                self.namespaces.join(&namespace, transport)
            }
        };
        let Some(socket) = socket else {
            let refusal = packet::connect_error(&namespace, "Invalid namespace");
            return lock(&self.shared).outbox.answer(refusal.into());
        };
        lock(&inbox).push(Incoming::Text(connect));
        self.sockets.push(Joined {
            namespace,
            inbox,
            socket,
        });
    }

    fn find(&self, namespace: &str) -> Option<usize> {
        let mut sockets = self.sockets.iter();
        sockets.position(|joined| *joined.namespace == *namespace)
    }

    fn refuse(&self, why: &'static str) {
        lock(&self.shared).close.get_or_insert((4000, why.into()));
    }

    fn run_sockets(&mut self, cx: &mut Context<'_>) {
        let left = &mut self.left;
        self.sockets.retain_mut(|joined| {
            let goes_on = joined.socket.as_mut().poll(cx).is_pending();
            if !goes_on && left.len() < MOST && !left.contains(&joined.namespace) {
                left.push(joined.namespace.clone());
            }
            goes_on
        });
    }

    fn close(&mut self, code: u16, reason: &str, now: Instant) {
        let mut shared = lock(&self.shared);
        // A client that polls takes nothing between two polls: what waits leaves with the next.
        if shared.is_stalled && shared.carrier != "polling" {
            shared.outbox.drop_unbegun();
        }
        self.engine.close(&mut shared.outbox, code, reason);
        shared.is_gone = true;
        self.closing_until = Some(now + CLOSING);
    }

    /// Carries the end through; the sockets have theirs before.
    fn end(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.run_sockets(cx);
        {
            let mut shared = lock(&self.shared);
            shared.is_gone = true;
            if self.engine.poll_end(&mut shared.outbox, cx).is_ready() {
                return Poll::Ready(());
            }
        }
        self.timer.poll_until(until, Instant::now(), cx)
    }
}

impl Future for NamespaceConnection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.step(cx)
    }
}

#[cfg(test)]
mod tests;
