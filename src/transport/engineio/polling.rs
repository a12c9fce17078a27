//! Long-polling: a poll takes what waits, a POST brings what the client says.

use std::io::{self, ErrorKind};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::protocol::engineio::packet::EnginePacket;
use crate::protocol::engineio::payload::{PollAnswer, PostedPackets};
use crate::transport::outbox::Outbox;

/// The client's poll, and its POST, where it has one under way.
#[derive(Default)]
pub(super) struct LongPolling {
    poll: Option<oneshot::Sender<Bytes>>,
    post: Option<(PostedPackets, oneshot::Sender<()>)>,
}

impl LongPolling {
    /// A poll has come.
    ///
    /// # Errors
    /// Another one waits already: no client does that.
    pub(super) fn take_poll(&mut self, poll: oneshot::Sender<Bytes>) -> Result<(), ()> {
        if self.poll.as_ref().is_some_and(|before| !before.is_closed()) {
            return Err(());
        }
        self.poll = Some(poll);
        Ok(())
    }

    /// Whether a poll waits.
    pub(super) fn is_polled(&self) -> bool {
        self.poll.is_some()
    }

    /// A POST has come, and the one before is read.
    pub(super) fn take_post(&mut self, packets: PostedPackets, post: oneshot::Sender<()>) {
        self.post = Some((packets, post));
    }

    /// The next packet of the client's POST. A POST with a packet that is none is not answered.
    ///
    /// # Errors
    /// The packet is none.
    pub(super) fn next_packet(&mut self) -> Result<Option<EnginePacket>, ()> {
        let Some((packets, _)) = &mut self.post else {
            return Ok(None);
        };
        match packets.next() {
            Some(Ok(packet)) => Ok(Some(packet)),
            Some(Err(_)) => {
                self.post = None;
                Err(())
            }
            None => {
                if let Some((_, post)) = self.post.take() {
                    // The client may be gone.
                    let _ = post.send(());
                }
                Ok(None)
            }
        }
    }

    /// Ready where the client has given up its poll: what waits for it has nowhere to go.
    pub(super) fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.poll {
            Some(poll) => poll.poll_closed(cx),
            None => Poll::Pending,
        }
    }

    /// Answers the poll that waits with what there is.
    pub(super) fn poll_send(&mut self, outbox: &mut Outbox) -> Poll<io::Result<()>> {
        if outbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Some(poll) = self.poll.take() else {
            return Poll::Pending;
        };
        let mut answer = PollAnswer::default();
        while !answer.is_full()
            && let Some(packet) = outbox.pop()
        {
            answer.push_text(&packet);
        }
        if poll.send(answer.finish()).is_err() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        match outbox.is_empty() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    /// The client has said its last word: answers its poll and its POST.
    pub(super) fn leave(&mut self) {
        self.release();
        if let Some((_, post)) = self.post.take() {
            // The client may be gone.
            let _ = post.send(());
        }
    }

    /// Answers the poll that waits though there is nothing to say.
    pub(super) fn release(&mut self) {
        if let Some(poll) = self.poll.take() {
            let mut answer = PollAnswer::default();
            answer.push_packet(&EnginePacket::Noop);
            // The client may be gone.
            let _ = poll.send(answer.finish());
        }
    }
}
