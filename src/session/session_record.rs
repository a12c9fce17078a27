//! What a session leaves in logs and metrics.

use std::sync::Arc;

use tokio::time::Instant;

use super::context::Context;
use crate::error::Side;
use crate::policy::connection_limits::Permit;
use crate::rollout::TransportKind;
use crate::telemetry::{self, Meters};

/// A close frame without a code (RFC 6455, section 7.1.5).
pub(super) const NO_CODE: u16 = 1005;

/// The end without a close frame.
const BROKE_OFF: u16 = 1006;

/// What the log says of a connection when it is over.
pub(super) struct AccessRecord {
    /// The handshake's.
    pub(crate) request_id: Box<str>,
    pub(crate) opened: Instant,
    /// Counts what its client sends.
    pub(crate) meters: Arc<Meters>,
    /// Its place among the connections.
    pub(crate) _permit: Option<Arc<Permit>>,
    /// The side that began the end, and its close code.
    pub(crate) ended_by: Option<(Side, u16)>,
    /// Its work has panicked.
    pub(crate) has_panicked: bool,
}

impl AccessRecord {
    /// Counts among the sessions that their rollout sends to this transport.
    pub(crate) fn count_as(&mut self, cx: &Context, protocol: &'static str, cohort: TransportKind) {
        let member = cx.member();
        if member.cohort.transport() == cohort {
            return;
        }
        member.cohort.join(cohort);
        let meters = cx.realm.meters(&cx.shared.telemetry, protocol, cohort);
        meters.enter();
        let before = std::mem::replace(&mut self.meters, meters);
        before.leave();
    }

    /// The session is over; bytes that came from its client, and that left.
    pub(crate) fn end(&self, cx: &Context, (bytes_in, bytes_out): (u64, u64)) {
        self.meters.leave();
        let member = cx.member();
        let (side, code) = self.ended_by.unwrap_or((Side::Downstream, BROKE_OFF));
        cx.shared
            .telemetry
            .access
            .session_finished(&telemetry::SessionLine {
                id: &member.id,
                request_id: &self.request_id,
                route: cx.realm.name(),
                protocol: member.protocol,
                cohort: member.cohort.transport().as_str(),
                remote: &member.client.remote,
                side: side.as_str(),
                code,
                total: self.opened.elapsed(),
                bytes_in,
                bytes_out,
            });
    }
}
