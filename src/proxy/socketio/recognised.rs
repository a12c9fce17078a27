//! What a handshake of Socket.IO says of its client: the user, where something that it brings names one, and where its rollout has it.

use std::sync::Arc;

use hyper::header::HeaderValue;
use hyper::http::request::Parts;

use super::super::context::{Came, RequestContext};
use super::super::enforce;
use super::super::transport_choice::Cohort;
use super::Query;
use crate::config::{By, SocketIo};
use crate::policy::auth::Authenticated;
use crate::rollout::{self, Candidate, TransportKind};
use crate::router::Match;

/// See the module. Nothing is known of a request of a session that is ours already.
#[derive(Default)]
pub(in crate::proxy) struct RecognisedClient {
    /// The user that one of `[socketio]`'s policies has let in.
    pub(super) admission: Option<Arc<Authenticated>>,
    pub(super) candidate: Candidate,
    /// The cookie for a unit just made.
    pub(super) cookie: Option<HeaderValue>,
    /// It is known already that the rollout says legacy.
    pub(super) is_legacy: bool,
}

/// Recognises the client of a request that begins a session, or belongs to one that is none of ours.
pub(in crate::proxy) async fn recognise(
    exchange: &RequestContext,
    socketio: &SocketIo,
    head: &Parts,
    came: &Came,
) -> RecognisedClient {
    let sessions = &exchange.shared.sessions.engine;
    let is_ours = |sid: Option<[u8; 16]>| sid.is_some_and(|sid| sessions.expect(&sid).is_ok());
    match Query::read(exchange.query.as_deref()).sid {
        Some(sid) if is_ours(sid) || socketio.legacy_route.is_none() => {
            return RecognisedClient::default();
        }
        _ => {}
    }
    let admission = match socketio.auth.is_empty() {
        true => None,
        // What is not let in here may have a token in its CONNECT: only that is told so.
        false => {
            let extras = &came.entrant.extras;
            let asked = enforce::identify(exchange, &head.headers, &socketio.auth, extras);
            asked.await.ok().map(Arc::new)
        }
    };
    let namespaces = socketio.namespaces.iter();
    let rollouts = namespaces.filter_map(|namespace| namespace.rollout.as_ref());
    let identity = admission.as_ref().map(|admission| &*admission.identity);
    let rollouts = rollouts.chain(&socketio.rollout);
    let cohort = Cohort::recognise(exchange, &head.headers, identity, rollouts);
    let is_legacy = socketio.rollout.as_ref().is_some_and(|rollout| {
        let is_known = match rollout.by {
            By::Cookie | By::Ip => true,
            By::User | By::Tenant => identity.is_some(),
        };
        let stages = exchange.shared.stages.load();
        let decision = rollout::decide(Some(rollout), &stages, &cohort.candidate);
        is_known && decision.transport == TransportKind::Legacy
    });
    RecognisedClient {
        admission,
        candidate: cohort.candidate,
        cookie: cohort.cookie,
        is_legacy,
    }
}

impl RecognisedClient {
    /// The cookie that its unit needs.
    pub(in crate::proxy) fn cookie(&self) -> Option<HeaderValue> {
        self.cookie.clone()
    }

    /// The other server that its requests go to, where they do.
    pub(in crate::proxy) fn leaves_for(&self, socketio: &SocketIo) -> Option<Match> {
        let route = socketio.legacy_route.as_ref()?;
        self.is_legacy.then(|| Match {
            route: route.clone(),
            params: Default::default(),
            bridged: false,
            others: Vec::new(),
        })
    }
}
