//! What the request path would answer to a request, without sending anything: the same functions judge it in the same
//! order. What counts (limits, connections) and what asks an authority is left out.

mod checks;
mod document;
mod end;
mod event;
mod head;
mod namespace;
mod namespace_document;
mod user;

use hyper::Method;
use hyper::http::request::Parts;
use serde_json::Value;

use super::context::Address;
use super::endpoints;
use super::target::Destination;
use super::transport_choice::{self, decide_for_all};
use crate::http::forwarded::ForwardedClient;
use crate::http::problem::Problem;
use crate::http::{header_names, validate};
use crate::policy::Ask;
use crate::policy::auth::Identity;
use crate::rollout::{self, Candidate, Stages};
use crate::router::InForce;
use crate::session::Services;
pub(crate) use document::{Explanation, Verdict};
use head::{client_of, head_of};
pub(crate) use namespace::{NamespaceQuestion, explain_namespace};
pub(crate) use namespace_document::NamespaceExplanation;
use user::identity_of;

/// A request that is judged and not sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExplainRequest {
    /// GET where none is given.
    pub(crate) method: Option<Method>,
    /// Path, with or without a query.
    pub(crate) path: String,
    /// A user that counts as accepted, whatever the headers hold.
    pub(crate) user: Option<String>,
    /// The roles of that user.
    pub(crate) roles: Vec<String>,
    /// The claims of that user.
    pub(crate) claims: Vec<(String, Value)>,
    /// The `Origin` field.
    pub(crate) origin: Option<String>,
    /// Header fields: name in lower case, value.
    pub(crate) headers: Vec<(String, String)>,
    /// It is a WebSocket handshake, also without an `Upgrade` field.
    pub(crate) websocket: bool,
}

/// What judges it.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    /// The configuration.
    pub(crate) in_force: &'a InForce,
    /// The rollouts' stages; a rollout without one is as the file has it.
    pub(crate) stages: &'a Stages,
    /// The running sidecar, where there is one.
    pub(crate) shared: Option<&'a Services>,
}

/// Judges a request.
pub(crate) fn explain(question: &ExplainRequest, world: World<'_>) -> Explanation {
    let mut explanation = Explanation::default();
    let verdict = judge(question, world, &mut explanation);
    explanation.verdict = verdict.unwrap_or_else(|ends| ends);
    explanation
}

/// Goes the way of a request to its end; an error is an end before that.
fn judge(
    question: &ExplainRequest,
    world: World<'_>,
    explanation: &mut Explanation,
) -> Result<Verdict, Verdict> {
    let asked = Asked::find(question, world, explanation)?;
    let policies = asked.destination.policies(world.in_force);
    if asked.destination.found().is_none() {
        explanation.name_endpoint(&policies);
    }
    explanation.rollout = asked.rollout(None).map(|(view, _)| view);
    let passed = asked.check(asked.ask(), policies)?;
    let decided = asked.rollout(passed.identity.as_ref());
    let decision = decided.as_ref().map(|(_, decision)| decision.clone());
    explanation.rollout = decided.map(|(view, _)| view);
    explanation.namespaces = asked.namespaces(passed.identity.as_ref());
    asked.end(&passed, decision)
}

impl World<'_> {
    fn secret(&self) -> Option<&[u8]> {
        let config = &self.in_force.config;
        match self.shared {
            Some(shared) => Some(shared.secret(config)),
            None => config.server.secret.as_ref().map(|s| s.0.as_bytes()),
        }
    }
}

/// A request whose destination was found.
struct Asked<'a> {
    question: &'a ExplainRequest,
    world: World<'a>,
    head: Parts,
    /// Its host, without port, in lower case.
    host: String,
    query: Option<String>,
    destination: Destination,
    is_handshake: bool,
    client: ForwardedClient,
    /// The client by its cookies, headers and address.
    known: Candidate,
}

impl<'a> Asked<'a> {
    /// Finds where a request goes, and names the route.
    fn find(
        question: &'a ExplainRequest,
        world: World<'a>,
        explanation: &mut Explanation,
    ) -> Result<Self, Verdict> {
        let server = &world.in_force.config.server;
        let raw = question.path.split('?').next().unwrap_or_default();
        let refused = |fault| Problem::of_path(fault, raw);
        let mut head = head_of(question, world.in_force).map_err(refused)?;
        let inspected = validate::inspect(&head, "http").map_err(refused)?;
        explanation.canonical_path = Some(inspected.path.to_string());
        header_names::disambiguate(&mut head.headers, server.underscore_headers)
            .map_err(refused)?;

        let query = head.uri.query().map(str::to_owned);
        let address = Address {
            in_force: world.in_force,
            host: &inspected.host.name,
            path: &inspected.path,
            query: query.as_deref(),
        };
        let destination = Destination::find(address, &head, true);
        let found = match &destination {
            Ok(destination) => destination.found().cloned(),
            // Which route it is for is known, also where its path has other readings.
            Err(_) => {
                let routes = &world.in_force.routes;
                let found = routes.find(address.host, &head.method, address.path);
                found.filter(|_| matches!(endpoints::find(&server.prefix, address.path), Ok(None)))
            }
        };
        if let Some(found) = &found {
            explanation.name_route(found, address, &head.method);
        }
        let destination = destination?;
        let client = client_of(&head.headers, world.in_force, &inspected.host);
        Ok(Asked {
            question,
            world,
            is_handshake: inspected.is_handshake && destination.takes_handshakes(),
            destination,
            known: transport_choice::candidate(
                &world.in_force.config,
                &head.headers,
                client.ip.to_string(),
                world.secret(),
            ),
            client,
            host: inspected.host.name.to_string(),
            query,
            head,
        })
    }

    fn ask(&self) -> Ask {
        match (self.is_handshake, self.destination.asked_for(&self.head)) {
            (false, _) => Ask::Request,
            (true, Some(_)) => Ask::Session { json: false },
            (true, None) => Ask::Tunnel,
        }
    }

    /// The client as the rollouts see it: `--user` stands for whatever names a user, so for the unit of the sticky cookie too.
    fn candidate(&self, identity: Option<&Identity>) -> Candidate {
        let user = identity.map(|identity| identity.user.clone());
        let user = user.or(self.question.user.clone());
        let auths = self.destination.policies(self.world.in_force).auth;
        let told = |user: &String| identity_of(self.question, user, auths.first());
        let told = self.question.user.as_ref().map(told);
        let tenant = identity.or(told.as_ref()).and_then(|i| i.tenant.clone());
        Candidate {
            cookie: self.question.user.clone().or(self.known.cookie.clone()),
            user,
            tenant,
            ..self.known.clone()
        }
    }

    /// What each namespace would say to the client, where the place is that of Socket.IO.
    fn namespaces(&self, identity: Option<&Identity>) -> Vec<document::NamespaceView> {
        let Destination::SocketIo(socketio) = &self.destination else {
            return Vec::new();
        };
        let (candidate, stages) = (self.candidate(identity), self.world.stages);
        let namespaces = socketio.namespaces.iter();
        namespaces
            .map(|namespace| document::NamespaceView::new(namespace, stages, &candidate))
            .collect()
    }

    /// What the rollout says, where one may govern the place.
    fn rollout(
        &self,
        identity: Option<&Identity>,
    ) -> Option<(document::RolloutView, rollout::Decision)> {
        let World {
            in_force, stages, ..
        } = self.world;
        let candidate = self.candidate(identity);
        let (decision, route) = match self.destination.found() {
            Some(found) if !found.bridged => return None,
            Some(found) => {
                let rollout = found.route.rollout.as_deref();
                let decision = rollout::decide(rollout, stages, &candidate);
                (decision, Some(found.route.clone()))
            }
            None if matches!(self.destination, Destination::SocketIo(_)) => return None,
            None => decide_for_all(&in_force.routes, stages, &candidate),
        };
        let rollout = route.as_ref().and_then(|route| route.rollout.as_deref());
        let view = document::RolloutView::new(rollout, stages, &decision);
        Some((view, decision))
    }
}
