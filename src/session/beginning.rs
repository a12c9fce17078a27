//! The first round of a session: a welcome, and what the handshake asked for.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::connection::Connection;
use super::opening::Mode;
use super::requests::Wish;
use super::subscription::Subscription;
use crate::protocol::Output;

/// What happens in the first round.
pub(super) struct Beginning {
    pub mode: Mode,
    pub refuse_with: Option<u16>,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Connection<Io> {
    pub(super) fn begin(
        &mut self,
        beginning: Beginning,
        subs: &mut Vec<Subscription>,
        now: Instant,
    ) {
        if let Some(code) = beginning.refuse_with {
            self.close(code, "", subs, now);
            return;
        }
        let member = self.member().clone();
        let rules = self.rules();
        let (interval, timeout) = (rules.ping_interval, rules.ping_timeout);
        let (max_bytes, max_subs) = (rules.max_message, rules.max_subs);
        self.say(&Output::Welcome {
            conn: &member.id,
            node: &self.shared.node.clone(),
            ping_ms: interval.as_millis() as u64,
            timeout_ms: timeout.as_millis() as u64,
            max_bytes,
            max_subs,
            auth_exp: None,
        });
        if let Mode::Single {
            url,
            after,
            last_event_id,
            ..
        } = beginning.mode
        {
            let wish = Wish {
                path: url,
                after,
                last_event_id,
                filter: Vec::new(),
            };
            if let Err(refusal) = self.subscribe(0, wish, subs, now) {
                self.refuse_single(&refusal, subs, now);
            }
        }
        // What changed between the handshake and the list of sessions rang no bell here.
        if self.closing_until.is_none() {
            self.recheck(subs, now);
        }
    }
}
