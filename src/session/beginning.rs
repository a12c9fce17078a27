//! The first rounds of a session: a welcome, at once or in answer to a `hello`, and what the handshake asked for.

use std::sync::Arc;

use tokio::time::Instant;

use super::checks::{Frame, Wants};
use super::client::Located;
use super::connection::Session;
use super::hello::Hello;
use super::opening::Mode;
use super::requests::Wish;
use crate::edge::auth::Admission;
use crate::protocol::Output;

/// What happens in the first round.
pub(super) struct Beginning {
    pub mode: Mode,
    /// Where the one stream reads, by the configuration that the handshake was judged by.
    pub place: Option<Located>,
    pub refuse_with: Option<u16>,
    /// Whom the handshake has let in.
    pub admission: Option<Arc<Admission>>,
    /// A `hello` says who it is.
    pub awaits_hello: bool,
}

impl Session {
    pub(super) fn begin(&mut self, beginning: Beginning, now: Instant) {
        if let Some(code) = beginning.refuse_with {
            self.close(code, "", now);
            return;
        }
        if let Some(admission) = beginning.admission {
            self.remember(admission);
        }
        let mode = beginning.mode;
        if beginning.awaits_hello {
            let until = now + self.rules().hello_timeout;
            self.access.hello = Some(Box::new(Hello { mode, until }));
        } else {
            self.greet_at(mode, beginning.place, now);
        }
    }

    /// Says the first frame to a client that has said who it is, and does what the handshake asked for.
    pub(super) fn welcome(&mut self, now: Instant) {
        if let Some(hello) = self.access.hello.take() {
            self.greet_at(hello.mode, None, now);
        }
    }

    fn greet_at(&mut self, mode: Mode, place: Option<Located>, now: Instant) {
        let member = self.member().clone();
        let rules = self.rules();
        let (interval, timeout) = (rules.ping_interval, rules.ping_timeout);
        let (max_bytes, max_subs) = (self.max_message(), rules.max_subs);
        let own = self.admission_of(&self.own_auths());
        self.say(&Output::Welcome {
            conn: &member.id,
            node: &self.shared.node.clone(),
            ping_ms: interval.as_millis() as u64,
            timeout_ms: timeout.as_millis() as u64,
            max_bytes,
            max_subs,
            auth_exp: own.and_then(|own| own.identity.expires),
        });
        // What changed between the handshake and the list of sessions rang no bell here. Only then the stream is asked for: by
        // what is in force now.
        let judged_by = self.in_force.generation;
        self.recheck(now);
        if let Mode::Single {
            url,
            after,
            last_event_id,
            ..
        } = mode
            && self.closing_until.is_none()
        {
            let place = place.filter(|_| self.in_force.generation == judged_by);
            if place.is_none() {
                self.follow_name(&url);
            }
            let wish = Wish {
                path: url,
                after,
                last_event_id,
                filter: Vec::new(),
            };
            let frame = Frame::at(Wants::Sub(0, wish), place, judged_by);
            self.advance(frame, None, now);
        }
    }
}
