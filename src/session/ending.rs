//! The last rounds of a session: the closing handshake, and the line that it leaves in the log.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Round, Session};
use crate::error::{Code, Refusal, Side};
use crate::telemetry;

/// How long the closing handshake may take.
const CLOSING: Duration = Duration::from_secs(3);

/// A close frame without a code (RFC 6455, section 7.1.5).
pub(super) const NO_CODE: u16 = 1005;

/// The end without a close frame.
const BROKE_OFF: u16 = 1006;

/// What the log says of a connection when it is over.
pub(super) struct Life {
    /// The handshake's.
    pub request_id: String,
    /// The route's name, or `-`.
    pub place: Arc<str>,
    pub opened: Instant,
    /// Who began the end, and with which close code.
    pub ended_by: Option<(Side, u16)>,
}

impl Session {
    /// Begins the end from our side: nothing of what waits unwritten goes before it where the client
    /// takes nothing.
    pub(super) fn close(&mut self, code: u16, reason: &str, now: Instant) {
        if self.closing_until.is_some() {
            return;
        }
        // Whether they were executed nobody here will know.
        let unknown = Refusal::new(Code::OutcomeUnknown, "the connection is closed");
        for call in std::mem::take(&mut self.calls) {
            self.refuse(Some(call.id), &unknown);
        }
        // Who is to come back at once does not come with everybody else.
        let reason = match (code, reason) {
            (4200..=4299, "") => r#"{"retry_ms":4000}"#,
            _ => reason,
        };
        if self.stalled {
            self.outbox.drop_unbegun();
        }
        self.transport.close(&mut self.outbox, code, reason);
        self.life.ended_by = Some((Side::Edge, code));
        self.shared.telemetry.session_closing(code);
        self.closed(now);
    }

    /// The end has begun, from either side.
    pub(super) fn closed(&mut self, now: Instant) {
        self.subscriptions.clear();
        self.calls = Vec::new();
        self.leaving = None;
        self.closing_until.get_or_insert(now + CLOSING);
    }

    /// Carries the closing handshake through.
    pub(super) fn part(&mut self, until: Instant, cx: &mut Context<'_>) -> Round {
        let now = Instant::now();
        if self.transport.poll_end(&mut self.outbox, cx).is_ready() || now >= until {
            return Round::Gone;
        }
        match self.poll_sleep(until, now, cx) {
            Poll::Ready(()) => Round::Again,
            Poll::Pending => Round::Waits,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.meters.sessions.dec();
        let member = &self.membership.member;
        member.end();
        let (side, code) = self.life.ended_by.unwrap_or((Side::Downstream, BROKE_OFF));
        self.shared.telemetry.session_finished(&telemetry::Session {
            id: &member.id,
            request_id: &self.life.request_id,
            route: &self.life.place,
            protocol: member.protocol,
            remote: &member.client.remote,
            side: side.as_str(),
            code,
            total: self.life.opened.elapsed(),
            bytes_in: self.transport.bytes_read(),
            bytes_out: self.outbox.taken(),
        });
    }
}
