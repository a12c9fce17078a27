//! A WebSocket that a client tries while it polls (Engine.IO 4, "Upgrade").

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::engineio::packet::EnginePacket;
use crate::transport::outbox::Outbox;
use crate::transport::{Incoming, Transport};

/// From its opening to the client's word that it goes on there.
const WITHIN: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Probe {
    pub(super) transport: Box<dyn Transport>,
    outbox: Outbox,
    /// When it has taken too long.
    pub(super) until: Instant,
    /// It was answered: polls are not held any more.
    pub(super) is_answered: bool,
}

/// Whether a client that polls may go on over a WebSocket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpgradePermit {
    /// At once.
    #[default]
    Allowed,
    /// Not before it is known which client it is: until then its probe is not answered.
    Held,
    /// It stays where it is.
    Refused,
}

/// What came of a look.
pub(super) enum ProbeWord {
    /// It goes on.
    Nothing,
    /// It is over, and the client polls on.
    Fails,
    /// The client goes on there.
    Upgrade,
}

impl Probe {
    pub(super) fn new(transport: Box<dyn Transport>) -> Self {
        Probe {
            outbox: Outbox::new(transport.framing()),
            transport,
            until: Instant::now() + WITHIN,
            is_answered: false,
        }
    }

    /// Listens to it.
    pub(super) fn poll_word(&mut self, cx: &mut Context<'_>) -> Poll<ProbeWord> {
        let heard = match ready!(self.transport.poll_receive(&mut self.outbox, cx)) {
            Ok(Incoming::Text(text)) => EnginePacket::decode(text),
            Ok(Incoming::Ping | Incoming::Pong) => return Poll::Ready(ProbeWord::Nothing),
            Ok(_) | Err(_) => return Poll::Ready(ProbeWord::Fails),
        };
        Poll::Ready(match heard {
            Ok(EnginePacket::Ping { is_probe: true }) if !self.is_answered => {
                self.is_answered = true;
                let answer = EnginePacket::Pong { is_probe: true };
                self.outbox.push(answer.frame());
                ProbeWord::Nothing
            }
            Ok(EnginePacket::Upgrade) if self.is_answered => ProbeWord::Upgrade,
            _ => ProbeWord::Fails,
        })
    }

    /// Writes what waits; false where it is over.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let sent = self.transport.poll_send(&mut self.outbox, cx);
        !matches!(sent, Poll::Ready(Err(_)))
    }
}
