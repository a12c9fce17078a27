//! What becomes of a request that has passed all checks.

use std::sync::Arc;

use hyper::Method;

use super::super::target::{Asks, Destination};
use super::super::transport_choice::needs_unit;
use super::super::websocket;
use super::checks::Passed;
use super::namespace::stays;
use super::{Asked, Verdict};
use crate::config::Route;
use crate::http::problem::Problem;
use crate::rollout::{self, TransportKind};

impl Asked<'_> {
    /// What becomes of a request that has passed all checks.
    pub(super) fn end(
        &self,
        passed: &Passed,
        decision: Option<rollout::Decision>,
    ) -> Result<Verdict, Verdict> {
        let method = &self.head.method;
        match &self.destination {
            Destination::Transport(_) if !matches!(*method, Method::GET | Method::HEAD) => {
                Err(Problem::method_not_allowed("GET, HEAD").into())
            }
            Destination::Ticket(_) if *method != Method::POST => {
                Err(Problem::method_not_allowed("POST").into())
            }
            Destination::Ticket(_) => match &passed.auth {
                Some(auth) if auth.takes_tickets() => Ok(Verdict::open(
                    "passes: crossfade answers with a ticket".to_owned(),
                )),
                _ => Err(Problem::no_tickets().into()),
            },
            Destination::Transport(_) => Ok(Verdict::open(
                "passes: crossfade answers with the discovery document".to_owned(),
            )),
            Destination::SocketIo(socketio) => {
                stays(self, socketio)?;
                Ok(Verdict::open(
                    "passes: crossfade answers in Engine.IO, and each namespace judges its CONNECT"
                        .to_owned(),
                ))
            }
            Destination::Multiplex => self.open(passed, decision, None),
            Destination::Route(found, _) if self.is_handshake && found.bridged => {
                self.open(passed, decision, Some(&found.route))
            }
            Destination::Route(found, _) if self.is_handshake => Ok(Verdict::open(format!(
                "passes: the handshake goes to upstream `{}`, which answers it (a tunnel)",
                found.route.upstream.name
            ))),
            Destination::Route(found, asks) => {
                let what = match (asks, found.bridged) {
                    (Asks::Ahead, _) => "the preflight",
                    (Asks::Plainly, true) => "an ordinary request (no WebSocket handshake)",
                    (Asks::Plainly, false) => "the request",
                };
                Ok(Verdict::open(format!(
                    "passes: {what} goes to upstream `{}`, which answers it",
                    found.route.upstream.name
                )))
            }
        }
    }

    /// A handshake for a socket of crossfade's own.
    fn open(
        &self,
        passed: &Passed,
        decision: Option<rollout::Decision>,
        route: Option<&Arc<Route>>,
    ) -> Result<Verdict, Verdict> {
        websocket::expect_known(&passed.offer, route.is_some())?;
        if passed.awaits_hello {
            let limit = self.world.in_force.config.websocket.hello_timeout;
            return Ok(Verdict::open(format!(
                "passes: the handshake is answered by 101, and a `hello` has to bring the credential within {}",
                humantime::format_duration(limit)
            )));
        }
        let Some(decision) = decision.filter(|d| d.transport == TransportKind::Legacy) else {
            return Ok(Verdict::open(
                "passes: the handshake is answered by 101".to_owned(),
            ));
        };
        if decision.unit.is_none() && self.draws_unit(route, passed) {
            return Ok(Verdict::open(
                "open: without the cookie `crossfade_unit` the client is given a random unit, and its bucket decides; \
                 --user NAME judges a unit of that name"
                    .to_owned(),
            ));
        }
        let reason = decision.reason.as_str();
        match websocket::close_code(&decision) {
            Some(code) if passed.offer.json => Err(Verdict::closed("legacy", code, reason)),
            _ => Err(Verdict::legacy(reason)),
        }
    }

    /// Whether a unit that is drawn at random may bring this client in.
    fn draws_unit(&self, route: Option<&Arc<Route>>, passed: &Passed) -> bool {
        let is_known = passed.identity.is_some();
        let may_come_in = |route: &Arc<Route>| {
            let Some(rollout) = &route.rollout else {
                return false;
            };
            let stage = self.world.stages.get(&rollout.name).cloned();
            let stage = stage.unwrap_or_else(|| rollout::Stage::planned(rollout));
            needs_unit(rollout.by, is_known) && stage.effective_percent() > 0
        };
        match route {
            Some(route) => may_come_in(route),
            None => self.world.in_force.routes.bridged().any(may_come_in),
        }
    }
}
