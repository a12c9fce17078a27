//! One Engine.IO 4 connection: long-polling, a WebSocket, or first the one and then the other. It survives the change, and watches
//! by itself whether its client is there.

mod mailbox;
mod polling;
mod probe;
pub mod registry;

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::heartbeat::{Beat, Heartbeat};
use super::outbox::{Framing, Outbox};
use super::timer::Timer;
use super::{Incoming, Transport};
use crate::protocol::engineio::packet::EnginePacket;
use polling::LongPolling;
pub use probe::UpgradePermit;
use probe::{Probe, ProbeWord};
use registry::{EngineEntry, EngineRequest};

/// Close codes of ours.
const BAD_FRAME: u16 = 4000;
const TOO_MUCH: u16 = 4009;
const HEARTBEAT_LOST: u16 = 4108;

/// How the heartbeat beats.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// From one ping to the next.
    pub ping_interval: Duration,
    /// How long a pong may take.
    pub ping_timeout: Duration,
}

/// See the module.
pub struct EngineIo {
    carrier: Carrier,
    settings: EngineSettings,
    /// Where HTTP requests arrive; `None` for a client that came by WebSocket.
    entry: Option<Box<EngineEntry>>,
    probe: Option<Box<Probe>>,
    upgrade: UpgradePermit,
    heartbeat: Heartbeat,
    timer: Timer,
    /// Bytes read over polling.
    read: u64,
    max_message: usize,
    is_ending: bool,
    /// The client is not expected to poll again: its end waits for nothing.
    is_left: bool,
}

/// What moves the bytes.
enum Carrier {
    Polling(LongPolling),
    WebSocket(Box<dyn Transport>),
}

impl EngineIo {
    /// A client that came by WebSocket.
    pub fn over_websocket(transport: Box<dyn Transport>, settings: EngineSettings) -> Self {
        EngineIo::new(Carrier::WebSocket(transport), None, settings)
    }

    /// A client that polls.
    pub fn over_polling(entry: EngineEntry, settings: EngineSettings) -> Self {
        let carrier = Carrier::Polling(LongPolling::default());
        EngineIo::new(carrier, Some(Box::new(entry)), settings)
    }

    fn new(carrier: Carrier, entry: Option<Box<EngineEntry>>, settings: EngineSettings) -> Self {
        let now = Instant::now();
        EngineIo {
            carrier,
            settings,
            entry,
            probe: None,
            upgrade: UpgradePermit::default(),
            heartbeat: Heartbeat::new(now, settings.ping_interval, 1.0),
            timer: Timer::new(now),
            read: 0,
            max_message: usize::MAX,
            is_ending: false,
            is_left: false,
        }
    }

    /// The word for what moves the bytes now: `polling` or `websocket`.
    pub(crate) fn carrier(&self) -> &'static str {
        match self.carrier {
            Carrier::Polling(_) => "polling",
            Carrier::WebSocket(_) => "websocket",
        }
    }

    /// Whether a poll waits for something to say.
    pub(crate) fn is_polled(&self) -> bool {
        matches!(&self.carrier, Carrier::Polling(polling) if polling.is_polled())
    }

    /// What its client's pongs say.
    pub(crate) fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// From now on the client may go on over a WebSocket, or not.
    pub(crate) fn set_upgrade(&mut self, upgrade: UpgradePermit) {
        self.upgrade = upgrade;
        if upgrade == UpgradePermit::Refused {
            self.probe = None;
        }
    }

    fn fail(&mut self, outbox: &mut Outbox, code: u16) -> Incoming {
        self.is_left = true;
        self.close(outbox, code, "");
        Incoming::Broken(code)
    }

    /// Pings, and gives up a client or a probe that is silent.
    fn keep_time(&mut self, outbox: &mut Outbox, now: Instant) -> Option<Incoming> {
        if self.probe.as_ref().is_some_and(|probe| now >= probe.until) {
            self.probe = None;
        }
        let EngineSettings {
            ping_interval,
            ping_timeout,
        } = self.settings;
        match self.heartbeat.beat(now, ping_interval, ping_timeout) {
            Beat::No => None,
            Beat::Ping => {
                outbox.push_first(EnginePacket::Ping { is_probe: false }.frame());
                None
            }
            Beat::Lost => Some(self.fail(outbox, HEARTBEAT_LOST)),
        }
    }

    /// What a packet of the client comes to.
    fn hear(
        &mut self,
        packet: EnginePacket,
        outbox: &mut Outbox,
        now: Instant,
    ) -> Option<Incoming> {
        self.heartbeat.hear();
        if let (Carrier::Polling(_), EnginePacket::Text(message) | EnginePacket::Binary(message)) =
            (&self.carrier, &packet)
        {
            self.read += message.len() as u64;
        }
        match packet {
            EnginePacket::Text(text) => Some(Incoming::Text(text)),
            EnginePacket::Binary(bytes) => Some(Incoming::Binary(bytes)),
            EnginePacket::Pong { .. } => {
                self.heartbeat.hear_pong(now);
                self.expect_few_controls(outbox, now)
            }
            EnginePacket::Noop | EnginePacket::Upgrade => self.expect_few_controls(outbox, now),
            EnginePacket::Close => {
                if let Carrier::Polling(polling) = &mut self.carrier {
                    polling.leave();
                }
                self.is_left = true;
                self.close(outbox, 1000, "");
                Some(Incoming::Close(None))
            }
            // The server opens and pings.
            EnginePacket::Open(_) | EnginePacket::Ping { .. } => Some(self.fail(outbox, BAD_FRAME)),
        }
    }

    fn expect_few_controls(&mut self, outbox: &mut Outbox, now: Instant) -> Option<Incoming> {
        (!self.heartbeat.allows_control(now)).then(|| self.fail(outbox, TOO_MUCH))
    }

    /// The next thing that the client's WebSocket brings.
    fn poll_websocket(
        &mut self,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Incoming>>> {
        let Carrier::WebSocket(transport) = &mut self.carrier else {
            return Poll::Pending;
        };
        let incoming = ready!(transport.poll_receive(outbox, cx))?;
        let now = Instant::now();
        Poll::Ready(Ok(match incoming {
            Incoming::Text(text) => match EnginePacket::decode(text) {
                Ok(packet) => self.hear(packet, outbox, now),
                Err(_) => Some(self.fail(outbox, BAD_FRAME)),
            },
            Incoming::Binary(bytes) => self.hear(EnginePacket::Binary(bytes), outbox, now),
            Incoming::Ping | Incoming::Pong => {
                self.heartbeat.hear();
                self.expect_few_controls(outbox, now)
            }
            end @ (Incoming::Close(_) | Incoming::Broken(_)) => {
                self.is_ending = true;
                Some(end)
            }
        }))
    }

    /// The next thing that the client's polls and POSTs bring.
    fn poll_polling(
        &mut self,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Incoming>>> {
        let Carrier::Polling(polling) = &mut self.carrier else {
            return Poll::Pending;
        };
        match polling.next_packet() {
            Ok(Some(packet)) => {
                return Poll::Ready(Ok(self.hear(packet, outbox, Instant::now())));
            }
            Ok(None) => {}
            Err(()) => return Poll::Ready(Ok(Some(self.fail(outbox, BAD_FRAME)))),
        }
        let entry = self.entry.as_mut();
        let Some(requests) = entry.and_then(|entry| entry.requests.as_mut()) else {
            return Poll::Pending;
        };
        match requests.poll_next(cx) {
            Poll::Pending => {
                ready!(polling.poll_given_up(cx));
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
            Poll::Ready(EngineRequest::Poll(poll)) => {
                Poll::Ready(Ok(match polling.take_poll(poll) {
                    Ok(()) => None,
                    Err(()) => Some(self.fail(outbox, BAD_FRAME)),
                }))
            }
            Poll::Ready(EngineRequest::Post(packets, post)) => {
                polling.take_post(packets, post);
                Poll::Ready(Ok(None))
            }
            Poll::Ready(EngineRequest::Probe(_)) if self.upgrade == UpgradePermit::Refused => {
                Poll::Ready(Ok(None))
            }
            Poll::Ready(EngineRequest::Probe(mut transport)) => {
                // One is enough: a client that tries again has given up the one before.
                transport.limit_messages(self.max_message);
                self.probe = Some(Box::new(Probe::new(transport)));
                Poll::Ready(Ok(None))
            }
        }
    }

    /// Listens to the WebSocket that the client tries, and goes on there once it says so.
    fn poll_probe(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<()> {
        let probe = self.probe.as_mut();
        let Some(probe) = probe.filter(|_| self.upgrade == UpgradePermit::Allowed) else {
            return Poll::Pending;
        };
        match ready!(probe.poll_word(cx)) {
            ProbeWord::Nothing => {}
            ProbeWord::Fails => self.probe = None,
            ProbeWord::Upgrade => {
                if let Some(probe) = self.probe.take() {
                    self.go_on_over(probe.transport, outbox);
                }
            }
        }
        Poll::Ready(())
    }

    /// The client has left polling.
    fn go_on_over(&mut self, transport: Box<dyn Transport>, outbox: &mut Outbox) {
        if let Carrier::Polling(polling) = &mut self.carrier {
            polling.release();
        }
        outbox.reframe(transport.framing());
        self.carrier = Carrier::WebSocket(transport);
        if let Some(entry) = &mut self.entry {
            entry.requests = None;
        }
    }

    fn deadline(&self) -> Instant {
        let heartbeat = self.heartbeat.deadline(self.settings.ping_timeout);
        let probe = self.probe.as_ref().map(|probe| probe.until);
        probe.map_or(heartbeat, |until| until.min(heartbeat))
    }
}

impl Transport for EngineIo {
    fn framing(&self) -> Framing {
        match &self.carrier {
            Carrier::Polling(_) => Framing::EngineIo,
            Carrier::WebSocket(transport) => transport.framing(),
        }
    }

    fn poll_receive(
        &mut self,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Incoming>> {
        loop {
            let now = Instant::now();
            if let Some(lost) = self.keep_time(outbox, now) {
                return Poll::Ready(Ok(lost));
            }
            // First: a poll that comes behind the client's word that it goes on over the WebSocket is refused.
            if self.poll_probe(outbox, cx).is_ready() {
                continue;
            }
            let came = match &self.carrier {
                Carrier::Polling(_) => self.poll_polling(outbox, cx)?,
                Carrier::WebSocket(_) => self.poll_websocket(outbox, cx)?,
            };
            match came {
                Poll::Ready(Some(incoming)) => return Poll::Ready(Ok(incoming)),
                Poll::Ready(None) => continue,
                Poll::Pending => {}
            }
            ready!(self.timer.poll_until(self.deadline(), now, cx));
        }
    }

    fn poll_send(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.probe.as_mut().is_some_and(|probe| !probe.send(cx)) {
            self.probe = None;
        }
        match &mut self.carrier {
            Carrier::WebSocket(transport) => transport.poll_send(outbox, cx),
            Carrier::Polling(polling) => {
                let sent = polling.poll_send(outbox);
                if self.probe.as_ref().is_some_and(|probe| probe.is_answered) {
                    polling.release();
                }
                sent
            }
        }
    }

    /// It pings by itself.
    fn ping(&mut self, _: &mut Outbox) {}

    fn close(&mut self, outbox: &mut Outbox, code: u16, reason: &str) {
        if std::mem::replace(&mut self.is_ending, true) {
            return;
        }
        self.probe = None;
        match &mut self.carrier {
            Carrier::WebSocket(transport) => transport.close(outbox, code, reason),
            Carrier::Polling(_) => {
                outbox.push(EnginePacket::Close.frame());
                outbox.seal();
            }
        }
    }

    fn poll_end(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.carrier {
            Carrier::WebSocket(transport) => transport.poll_end(outbox, cx),
            Carrier::Polling(polling) => loop {
                if polling.poll_send(outbox).is_ready() || self.is_left {
                    return Poll::Ready(());
                }
                let entry = self.entry.as_mut();
                let requests = entry.and_then(|entry| entry.requests.as_mut());
                match requests.map(|requests| requests.poll_next(cx)) {
                    Some(Poll::Ready(EngineRequest::Poll(poll))) => {
                        let _ = polling.take_poll(poll);
                    }
                    Some(Poll::Ready(_)) => {}
                    Some(Poll::Pending) => return Poll::Pending,
                    None => return Poll::Ready(()),
                }
            },
        }
    }

    fn limit_messages(&mut self, bytes: usize) {
        self.max_message = bytes;
        if let Carrier::WebSocket(transport) = &mut self.carrier {
            transport.limit_messages(bytes);
        }
    }

    fn bytes_read(&self) -> u64 {
        match &self.carrier {
            Carrier::Polling(_) => self.read,
            Carrier::WebSocket(transport) => self.read + transport.bytes_read(),
        }
    }
}

#[cfg(test)]
mod tests;
