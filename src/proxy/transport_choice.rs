//! Which transport a client is to use: it is known by its cookies, headers and address, and the
//! rollouts decide.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::HeaderValue;

use super::context::RequestContext;
use crate::config::{By, Config, Rollout, Route};
use crate::http::reserved_params;
use crate::policy::auth::Identity;
use crate::rollout::{self, Candidate, Decision, Reason, Stages, TransportKind, sticky_cookie};
use crate::router::RouteTable;

/// How long a browser keeps its unit.
const YEAR: u64 = 365 * 24 * 60 * 60;

/// A client as the rollouts see it.
pub(crate) struct Cohort {
    /// The client; with a unit just made where a rollout needed one and none came.
    pub(crate) candidate: Candidate,
    /// The cookie for a unit just made.
    pub(crate) cookie: Option<HeaderValue>,
}

impl Cohort {
    /// Recognises the client. Where one of `rollouts` goes by the sticky cookie and none of ours
    /// came, a new unit is made, and judged from now on.
    pub(crate) fn recognise<'r>(
        exchange: &RequestContext,
        headers: &HeaderMap,
        identity: Option<&Identity>,
        mut rollouts: impl Iterator<Item = &'r Arc<Rollout>>,
    ) -> Cohort {
        let config = &exchange.in_force.config;
        let secret = exchange.shared.secret(config);
        let unknown = candidate(
            config,
            headers,
            exchange.client.ip.to_string(),
            Some(secret),
        );
        let needs_unit = unknown.cookie.is_none()
            && rollouts.any(|rollout| needs_unit(rollout.by, identity.is_some()));
        let made = needs_unit.then(|| sticky_cookie::mint(secret, fastrand_bytes()));
        let (made_unit, value) = made.unzip();
        Cohort {
            candidate: Candidate {
                cookie: unknown.cookie.or(made_unit),
                user: identity.map(|identity| identity.user.clone()),
                tenant: identity.and_then(|identity| identity.tenant.clone()),
                ..unknown
            },
            cookie: value.and_then(|value| cookie(&value, exchange.client.proto)),
        }
    }

    /// Decides for one route, and counts it.
    pub(crate) fn decide(&self, exchange: &RequestContext, route: &Route) -> Decision {
        let stages = exchange.shared.stages.load();
        let decision = rollout::decide(route.rollout.as_deref(), &stages, &self.candidate);
        if let Some(rollout) = &route.rollout {
            let (transport, reason) = (decision.transport, decision.reason);
            exchange.shared.telemetry.rollouts.decided(
                &rollout.name,
                transport.as_str(),
                reason.as_str(),
            );
        }
        decision
    }
}

/// Decides for the multiplexed connection: it is refused only when every bridged route
/// refuses. The second is the route whose decision it is.
pub(crate) fn decide_for_all(
    routes: &RouteTable,
    stages: &Stages,
    candidate: &Candidate,
) -> (Decision, Option<Arc<Route>>) {
    let mut refused: Vec<(Decision, Arc<Route>)> = Vec::new();
    for route in routes.bridged() {
        let decision = rollout::decide(route.rollout.as_deref(), stages, candidate);
        if decision.transport == TransportKind::WebSocket {
            return (decision, Some(route.clone()));
        }
        refused.push((decision, route.clone()));
    }
    // Where they refuse for different reasons, the mildest is reported: any of them may end first.
    let mildness = |reason| match reason {
        Reason::Killed => 2,
        Reason::RolledBack => 1,
        _ => 0,
    };
    refused
        .into_iter()
        .min_by_key(|(decision, _)| mildness(decision.reason))
        .map_or_else(
            || (rollout::decide(None, stages, candidate), None),
            |(decision, route)| (decision, Some(route)),
        )
}

/// The client by its cookies, headers and address; `secret` verifies the sticky cookie.
pub(crate) fn candidate(
    config: &Config,
    headers: &HeaderMap,
    ip: String,
    secret: Option<&[u8]>,
) -> Candidate {
    let unit = reserved_params::cookie(headers, sticky_cookie::COOKIE);
    Candidate {
        cookie: unit.and_then(|value| sticky_cookie::verify(secret?, value)),
        ip,
        user: None,
        tenant: None,
        overrides: overrides(config, headers),
    }
}

/// Whether a client without the sticky cookie is given one, to be judged by it.
pub(crate) fn needs_unit(by: By, is_known: bool) -> bool {
    match by {
        By::Cookie => true,
        By::User => !is_known,
        By::Tenant | By::Ip => false,
    }
}

/// Values of fields and cookies under the names that testers use.
fn overrides(config: &Config, headers: &HeaderMap) -> Vec<(String, String)> {
    let rollouts = config.rollouts.values();
    let names = rollouts.filter_map(|rollout| rollout.header.as_ref());
    let mut found = Vec::new();
    for name in names {
        let field = headers.get(name).and_then(|value| value.to_str().ok());
        let cookie = reserved_params::cookie_in_any_case(headers, name.as_str());
        let values = field.into_iter().chain(cookie);
        found.extend(values.map(|value| (name.as_str().to_owned(), value.to_owned())));
    }
    found
}

fn cookie(value: &str, proto: &str) -> Option<HeaderValue> {
    let secure = match proto {
        "https" => "; Secure",
        _ => "",
    };
    let name = sticky_cookie::COOKIE;
    let cookie = format!("{name}={value}; Path=/; Max-Age={YEAR}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(cookie).ok()
}

fn fastrand_bytes() -> [u8; 16] {
    fastrand::u128(..).to_be_bytes()
}
