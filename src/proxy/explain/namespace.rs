//! What would become of a Socket.IO client that joins a namespace, judged by the handshake, the namespace's policies and its
//! rollout; [`super::event`] judges what the client does there.

use std::sync::Arc;

use serde_json::Value;

use super::super::transport_choice::needs_unit;
use super::super::websocket;
use super::document::{RolloutView, Verdict};
use super::event::JoinedClient;
use super::namespace_document::{GreetView, NamespaceExplanation};
use super::{Asked, ExplainRequest, Explanation, World};
use crate::config::{By, Namespace, Rollout, SocketIo};
use crate::error::{Code, Refusal};
use crate::policy::auth::Identity;
use crate::policy::{Ask, Policies};
use crate::rollout::{self, TransportKind};

/// A client of Socket.IO that is judged, and not let in.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamespaceQuestion {
    /// Its handshake; the path is that of `[socketio]`.
    pub(crate) request: ExplainRequest,
    /// The namespace that it names.
    pub(crate) namespace: String,
    /// An event that it sends there.
    pub(crate) event: Option<String>,
    /// The event's arguments; where there are none, what they would fill stays as it is written.
    pub(crate) args: Option<Vec<Value>>,
}

/// Judges a namespace, and an event there.
pub(crate) fn explain_namespace(
    question: &NamespaceQuestion,
    world: World<'_>,
) -> NamespaceExplanation {
    let mut told = NamespaceExplanation {
        namespace: question.namespace.clone(),
        ..NamespaceExplanation::default()
    };
    let verdict = judge(question, world, &mut told);
    told.verdict = verdict.unwrap_or_else(|ends| ends);
    told
}

fn judge(
    question: &NamespaceQuestion,
    world: World<'_>,
    told: &mut NamespaceExplanation,
) -> Result<Verdict, Verdict> {
    let Some(socketio) = &world.in_force.config.socketio else {
        return Err(Refusal::new(Code::NotFound, "the file has no `[socketio]`").into());
    };
    let found = socketio.namespace(&question.namespace);
    if let Some((namespace, params)) = &found {
        told.name(namespace, params);
    }
    let request = handshake(&question.request, socketio);
    let asked = Asked::find(&request, world, &mut Explanation::default())?;
    let handshake = asked.check(asked.ask(), asked.destination.policies(world.in_force));
    let Some((namespace, params)) = found else {
        handshake?;
        return Err(Verdict {
            status: Some(404),
            code: Some(Code::NotFound.as_str().to_owned()),
            why: "Invalid namespace: `connect_error` says so, and nothing else".to_owned(),
        });
    };
    let place = Policies::of_namespace(namespace);
    let passed = handshake
        .and_then(|_| stays(&asked, socketio))
        .and_then(|()| asked.check(Ask::Hello, place));
    let identity = passed.as_ref().ok();
    let identity = identity.and_then(|passed| passed.identity.as_ref());
    let decided = decide_namespace(&asked, socketio, namespace, identity, told);
    let verdict = passed.as_ref().map_err(Clone::clone).and(decided);
    let joined = JoinedClient {
        asked: &asked,
        namespace,
        params: &params,
        identity,
        refused: verdict.as_ref().err(),
    };
    told.subscribe = joined.subscribed();
    told.greet = namespace.greet.as_ref().map(|greet| GreetView {
        event: greet.event.to_string(),
        body: greet
            .body
            .as_ref()
            .map(|body| body.sketch(&joined.scope(&[]))),
    });
    let event = question.event.as_ref();
    told.event = event.map(|event| joined.event(event, question.args.as_deref()));
    verdict
}

/// The handshake of a client that polls, or that begins with a WebSocket.
fn handshake(request: &ExplainRequest, socketio: &SocketIo) -> ExplainRequest {
    let transport = match request.websocket {
        true => "websocket",
        false => "polling",
    };
    ExplainRequest {
        method: None,
        path: format!("{}?EIO=4&transport={transport}", socketio.path),
        ..request.clone()
    }
}

/// The Socket.IO server of before gets the clients whose rollout says legacy, by what their handshake shows.
pub(super) fn stays(asked: &Asked<'_>, socketio: &SocketIo) -> Result<(), Verdict> {
    let (Some(rollout), Some(route)) = (&socketio.rollout, &socketio.legacy_route) else {
        return Ok(());
    };
    let place = Policies {
        auth: &socketio.auth,
        ..Policies::default()
    };
    let passed = asked.check(Ask::Hello, place).ok();
    let identity = passed.as_ref().and_then(|passed| passed.identity.as_ref());
    let is_known = match rollout.by {
        By::Cookie | By::Ip => true,
        By::User | By::Tenant => identity.is_some(),
    };
    let decision = rollout::decide(
        Some(rollout),
        asked.world.stages,
        &asked.candidate(identity),
    );
    let is_drawn = decision.unit.is_none() && may_draw(asked, rollout, identity);
    if !is_known || is_drawn || decision.transport == TransportKind::WebSocket {
        return Ok(());
    }
    let (name, reason) = (&route.upstream.name, decision.reason.as_str());
    Err(Verdict::open(format!(
        "passes: by the rollout's `{reason}` the client goes to the Socket.IO server of upstream `{name}`"
    )))
}

/// What the namespace's rollout says; named in the answer.
fn decide_namespace(
    asked: &Asked<'_>,
    socketio: &SocketIo,
    namespace: &Namespace,
    identity: Option<&Identity>,
    told: &mut NamespaceExplanation,
) -> Result<Verdict, Verdict> {
    let passes = "passes: the client joins";
    let Some(rollout) = &namespace.rollout else {
        return Ok(Verdict::open(passes.to_owned()));
    };
    let stages = asked.world.stages;
    let decision = rollout::decide(Some(rollout), stages, &asked.candidate(identity));
    told.rollout = Some(RolloutView::new(Some(rollout), stages, &decision));
    let reason = decision.reason.as_str();
    match websocket::close_code(&decision) {
        None => Ok(Verdict::open(passes.to_owned())),
        Some(_) if decision.unit.is_none() && may_draw(asked, rollout, identity) => {
            Err(Verdict::open(
                "open: without the cookie `crossfade_unit` the client is given a random unit, and its bucket decides; \
                 --user NAME judges a unit of that name"
                    .to_owned(),
            ))
        }
        Some(_) if socketio.keeps_legacy() && !asked.is_handshake => {
            Ok(Verdict::open(format!(
                "{passes}, and stays on long-polling by the rollout's `{reason}`"
            )))
        }
        Some(close) => {
            let detail = format!("the rollout's `{reason}` keeps the client on the legacy transport");
            let refusal = Refusal::new(Code::Legacy, detail);
            Err(Verdict::connect_error(&refusal, close))
        }
    }
}

/// Whether a unit that is drawn at random may bring this client in.
fn may_draw(asked: &Asked<'_>, rollout: &Arc<Rollout>, identity: Option<&Identity>) -> bool {
    let stage = asked.world.stages.get(&rollout.name).cloned();
    let stage = stage.unwrap_or_else(|| rollout::Stage::planned(rollout));
    needs_unit(rollout.by, identity.is_some()) && stage.effective_percent() > 0
}

/// Whether a route's rollout lets this client have what it asks for there.
pub(super) fn decide_route(
    asked: &Asked<'_>,
    rollout: &Arc<Rollout>,
    identity: Option<&Identity>,
) -> Result<(), Verdict> {
    let decision = rollout::decide(
        Some(rollout),
        asked.world.stages,
        &asked.candidate(identity),
    );
    match decision.transport {
        TransportKind::WebSocket => Ok(()),
        TransportKind::Legacy if decision.unit.is_none() && may_draw(asked, rollout, identity) => {
            let why = "open: a random unit decides in the route's rollout; --user NAME judges a unit of that name";
            Err(Verdict::open(why.to_owned()))
        }
        TransportKind::Legacy => {
            let reason = decision.reason.as_str();
            let detail = format!(
                "the route's rollout keeps the client on the legacy transport, by `{reason}`"
            );
            Err(Refusal::new(Code::Legacy, detail).into())
        }
    }
}
