//! A session's way to its client: what it says is encoded, waits in the outbox, and leaves by the transport that is there.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::lag::Lag;
use super::upstream_request::CallAnswer;
use crate::config::Queue;
use crate::error::Refusal;
use crate::packet::Packet;
use crate::protocol::{Codec, Output, Tag};
use crate::transport::heartbeat::Heartbeat;
use crate::transport::outbox::Outbox;
use crate::transport::{Incoming, Transport};

/// See the module.
pub(super) struct Link {
    transport: Box<dyn Transport>,
    codec: Box<dyn Codec>,
    outbox: Outbox,
    /// The client did not take all of the last write.
    is_stalled: bool,
    /// What the client takes, while it has not taken all.
    pub(crate) lag: Option<Box<Lag>>,
}

/// What a write came to.
#[derive(Debug, PartialEq)]
pub(super) enum Sent {
    /// Nothing waits any more.
    All,
    /// As `All`, after a write that was not taken whole.
    AllAfterStall,
    /// The client takes no more for now.
    Part,
}

impl Link {
    /// To a client that speaks like this.
    pub(crate) fn new(transport: Box<dyn Transport>, codec: Box<dyn Codec>) -> Self {
        Link {
            outbox: Outbox::new(transport.framing()),
            transport,
            codec,
            is_stalled: false,
            lag: None,
        }
    }

    /// How the client speaks.
    pub(crate) fn codec(&self) -> &dyn Codec {
        &*self.codec
    }

    /// What waits to be written.
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// For the subscriptions, which add many events at once.
    pub(crate) fn parts(&mut self) -> (&mut dyn Codec, &mut Outbox) {
        (&mut *self.codec, &mut self.outbox)
    }

    /// Whether the client has not taken all of what was written last.
    pub(crate) fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// Says what no client asked for.
    pub(crate) fn say(&mut self, output: &Output<'_>) {
        self.codec.encode(output, &mut |packet| {
            self.outbox.push(packet);
        });
    }

    /// Says what no codec has to encode.
    pub(crate) fn push(&mut self, packet: Packet) {
        self.outbox.push(packet);
    }

    /// As [`Transport::one_way`].
    pub(crate) fn one_way(&self) -> Option<Duration> {
        self.transport.one_way()
    }

    /// As [`Transport::answered_pings`].
    pub(crate) fn answered_pings(&self) -> u32 {
        self.transport.answered_pings()
    }

    /// Half of the last ping's round trip, by the transport's own heartbeat or by the session's.
    pub(crate) fn one_way_or(&self, heartbeat: &Heartbeat) -> Duration {
        self.one_way().unwrap_or_else(|| heartbeat.one_way())
    }

    /// The word for the transport in the admin API.
    pub(crate) fn transport(&self) -> &'static str {
        self.transport.name()
    }

    /// Says what answers the client.
    pub(crate) fn reply(&mut self, output: &Output<'_>) {
        self.codec
            .encode(output, &mut |packet| self.outbox.answer(packet));
    }

    /// Says why something is not done.
    pub(crate) fn refuse(&mut self, id: &Tag, refusal: &Refusal) {
        self.reply(&Output::Err { id, refusal });
    }

    /// Says what came of a request.
    pub(crate) fn answer(&mut self, id: &Tag, answer: &CallAnswer) {
        answer.encode(id, &mut *self.codec, &mut |packet| {
            self.outbox.answer(packet);
        });
    }

    /// Asks the client for a sign of life, in its protocol's words and its transport's.
    pub(crate) fn ping(&mut self) {
        self.codec.encode(&Output::Ping, &mut |packet| {
            self.outbox.push_first(packet);
        });
        self.transport.ping(&mut self.outbox);
    }

    /// From now on a message of the client may have so many bytes.
    pub(crate) fn limit_messages(&mut self, bytes: usize) {
        self.transport.limit_messages(bytes);
    }

    /// As [`Transport::poll_receive`].
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Incoming>> {
        self.transport.poll_receive(&mut self.outbox, cx)
    }

    /// Writes what waits, and notes what the client takes where it does not take all. `is_behind` says that more would follow.
    ///
    /// # Errors
    /// The transport is gone.
    pub(crate) fn send(
        &mut self,
        is_behind: bool,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> io::Result<Sent> {
        match self.transport.poll_send(&mut self.outbox, cx)? {
            Poll::Ready(()) => {
                if !is_behind {
                    self.lag = None;
                }
                match std::mem::take(&mut self.is_stalled) {
                    true => Ok(Sent::AllAfterStall),
                    false => Ok(Sent::All),
                }
            }
            Poll::Pending => {
                self.is_stalled = true;
                self.look_at_lag(now);
                Ok(Sent::Part)
            }
        }
    }

    /// The client has not taken all that was sent: notes what it takes.
    pub(crate) fn look_at_lag(&mut self, now: Instant) {
        let taken = self.outbox.taken();
        let lag = self
            .lag
            .get_or_insert_with(|| Box::new(Lag::new(now, taken)));
        lag.look(now, taken);
    }

    /// Begins the end: nothing of what waits unwritten goes before it where the client takes nothing.
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        if self.is_stalled {
            self.outbox.drop_unbegun();
        }
        self.transport.close(&mut self.outbox, code, reason);
    }

    /// As [`Transport::poll_end`].
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.transport.poll_end(&mut self.outbox, cx)
    }

    /// What waits to be written.
    pub(crate) fn queued(&self) -> Queue {
        Queue {
            messages: self.outbox.len() as u64,
            bytes: self.outbox.bytes() as u64,
        }
    }

    /// Bytes that came from the client, and that left.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.transport.bytes_read(), self.outbox.taken())
    }
}
