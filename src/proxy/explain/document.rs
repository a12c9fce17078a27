//! The answer to `explain`, as it is printed.

use hyper::Method;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::context::Address;
use crate::config::{Auth, Namespace, Require, Rollout, Route, Share};
use crate::error::Refusal;
use crate::http::problem::Problem;
use crate::policy::Policies;
use crate::rollout::{self, Candidate, Decision, Percent, Reason, Stages, TransportKind};
use crate::router::{Match, PathReading};

/// What would become of a request.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Explanation {
    /// The route's name.
    pub(crate) route: Option<String>,
    /// Whether the route is bridged.
    pub(crate) action: Action,
    /// The path as it is routed; none where it is refused as it is written.
    pub(crate) canonical_path: Option<String>,
    /// What the placeholders of the route's path stand for.
    pub(crate) params: Map<String, Value>,
    /// What holds there.
    pub(crate) policies: PolicyView,
    /// The answer.
    pub(crate) verdict: Verdict,
    /// What the rollout says; none where no WebSocket is there, or where each namespace has its own.
    pub(crate) rollout: Option<RolloutView>,
    /// The namespaces of Socket.IO, where the path is that of its clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) namespaces: Vec<NamespaceView>,
    /// Other readings of the path that other policies guard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) readings: Vec<ReadingView>,
}

/// What a route does with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Action {
    /// A bridged route, or an endpoint of crossfade's own.
    Bridge,
    /// A route without a source.
    Passthrough,
    /// No route.
    #[default]
    NotFound,
}

/// The policies of a place, as the file names them.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Policies")]
pub(crate) struct PolicyView {
    /// The `[cors.NAME]`.
    pub(crate) cors: Option<String>,
    /// The `[auth.NAME]`, or a list of them.
    pub(crate) auth: Option<Names>,
    /// The roles and claims that are required.
    pub(crate) require: Option<RequireView>,
    /// The `[rate_limit.NAME]`.
    pub(crate) rate_limit: Option<String>,
    /// `share` of a bridged route, as the file has it.
    #[schemars(extend("type" = ["string", "object", "null"]))]
    pub(crate) share: Option<Value>,
}

/// One name, or a list of them, as the file has it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(crate) enum Names {
    /// One.
    One(String),
    /// More than one.
    More(Vec<String>),
}

/// What a user must have.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Require")]
pub(crate) struct RequireView {
    /// One of these roles; any user where there is none.
    roles: Vec<String>,
    /// Of each claim one of these values.
    claims: Map<String, Value>,
}

/// The answer that the request would get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Verdict {
    /// Its status, where crossfade gives it; none where the request passes, or where an authority, or a unit that is
    /// drawn at random, decides.
    pub(crate) status: Option<u16>,
    /// The code of its problem document.
    pub(crate) code: Option<String>,
    /// For a person: a word, and what it means.
    pub(crate) why: String,
}

/// What a rollout says of a client.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolloutDecision")]
pub(crate) struct RolloutView {
    /// Its name; none where the route is on for all clients.
    pub(crate) name: Option<String>,
    /// What was judged.
    pub(crate) unit: Option<String>,
    /// Its bucket, 0 to 99,999.
    pub(crate) bucket: Option<u32>,
    /// The percentage in force.
    pub(crate) percent: Percent,
    /// What it gets.
    pub(crate) transport: TransportKind,
    /// Why.
    pub(crate) reason: Reason,
}

/// A namespace of Socket.IO, as its CONNECT is judged.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Namespace")]
pub(crate) struct NamespaceView {
    /// Its name, as the file has it.
    pub(crate) name: String,
    /// The `[auth.NAME]`, or a list of them.
    pub(crate) auth: Option<Names>,
    /// The roles and claims that are required.
    pub(crate) require: Option<RequireView>,
    /// What its rollout says.
    pub(crate) rollout: RolloutView,
}

/// Another reading of the path, and the route there.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Reading")]
pub(crate) struct ReadingView {
    /// The path.
    pub(crate) path: String,
    /// The route's name.
    pub(crate) route: String,
    /// What holds there.
    pub(crate) policies: ReadingPolicies,
}

/// What guards another reading.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct ReadingPolicies {
    /// The `[auth.NAME]`, or a list of them.
    pub(crate) auth: Option<Names>,
    /// The roles and claims that are required.
    pub(crate) require: Option<RequireView>,
}

impl Explanation {
    /// Names the route, its policies, and the other readings of the path.
    pub(super) fn name_route(&mut self, found: &Match, address: Address<'_>, method: &Method) {
        let route = &*found.route;
        self.route = Some(route.name.to_string());
        self.action = match found.bridged {
            true => Action::Bridge,
            false => Action::Passthrough,
        };
        let params = found.params.iter();
        self.params = params
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        self.policies = PolicyView::of_route(route);
        let (routes, host) = (&address.in_force.routes, address.host);
        let readings = routes.readings(host, method, address.path, route);
        let readings = readings.unwrap_or_default().into_iter();
        self.readings = readings.map(ReadingView::new).collect();
    }

    /// An endpoint of crossfade's own is no route.
    pub(super) fn name_endpoint(&mut self, policies: &Policies<'_>) {
        self.action = Action::Bridge;
        self.policies = PolicyView::new(policies);
    }
}

impl PolicyView {
    /// Those of a route, with what it shares.
    pub(super) fn of_route(route: &Route) -> Self {
        PolicyView {
            share: route.source.as_ref().map(|_| share(route)),
            ..PolicyView::new(&Policies::of_route(route))
        }
    }

    pub(super) fn new(policies: &Policies<'_>) -> Self {
        PolicyView {
            cors: policies.cors.map(|cors| cors.name.to_string()),
            auth: auth(policies.auth.iter().map(|auth| &**auth)),
            require: policies.require.map(require),
            rate_limit: policies.rate_limit.map(|limit| limit.name.to_string()),
            share: None,
        }
    }
}

impl NamespaceView {
    pub(super) fn new(namespace: &Namespace, stages: &Stages, candidate: &Candidate) -> Self {
        let rollout = namespace.rollout.as_deref();
        let decision = rollout::decide(rollout, stages, candidate);
        NamespaceView {
            name: namespace.name.as_str().to_owned(),
            auth: auth(namespace.auth.iter().map(|auth| &**auth)),
            require: namespace.require.as_ref().map(require),
            rollout: RolloutView::new(rollout, stages, &decision),
        }
    }
}

impl ReadingView {
    fn new(reading: PathReading) -> Self {
        let route = &reading.route;
        ReadingView {
            path: reading.path,
            route: route.name.to_string(),
            policies: ReadingPolicies {
                auth: auth(route.auth.iter().map(|auth| &**auth)),
                require: route.require.as_ref().map(require),
            },
        }
    }
}

impl Verdict {
    /// Crossfade does not give the answer, or does not know it yet.
    pub(super) fn open(why: String) -> Self {
        Verdict {
            why,
            ..Verdict::default()
        }
    }

    /// Crossfade answers a preflight, whether it grants what is asked or not.
    pub(super) fn preflight(status: u16) -> Self {
        let why = "preflight: answered by `cors` of the route that its method would reach";
        Verdict {
            status: Some(status),
            ..Verdict::open(why.to_owned())
        }
    }

    /// The rollout keeps the client on the legacy transport.
    pub(super) fn legacy(reason: &str) -> Self {
        let mut verdict = Verdict::from(Problem::legacy());
        verdict.why = format!("{}, by the rollout's `{reason}`", verdict.why);
        verdict
    }

    /// The handshake is answered, and its socket closed with a code that the client can read.
    pub(super) fn closed(word: &str, close: u16, why: &str) -> Self {
        Verdict {
            status: Some(101),
            code: Some(word.to_owned()),
            why: format!("{word}: the socket is closed by {close}: {why}"),
        }
    }
}

impl Verdict {
    /// A client that may not join a namespace is told so.
    pub(super) fn connect_error(refusal: &Refusal, close: u16) -> Self {
        let mut verdict = Verdict::from(refusal.clone());
        verdict.why = format!(
            "{}: `connect_error` with `close` {close}: {}",
            refusal.code.as_str(),
            refusal.detail
        );
        verdict
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        Verdict {
            status: Some(refusal.status),
            code: Some(refusal.code.as_str().to_owned()),
            why: refusal.to_string(),
        }
    }
}

impl From<Problem> for Verdict {
    fn from(problem: Problem) -> Self {
        let word = problem.reason.unwrap_or(problem.code);
        Verdict {
            status: Some(problem.status.as_u16()),
            code: Some(problem.code.to_owned()),
            why: format!("{word}: {}", problem.detail),
        }
    }
}

impl RolloutView {
    pub(super) fn new(rollout: Option<&Rollout>, stages: &Stages, decision: &Decision) -> Self {
        let percent = rollout.map_or(rollout::EVERYBODY, |rollout| {
            let stage = stages.get(&rollout.name).cloned();
            let stage = stage.unwrap_or_else(|| rollout::Stage::planned(rollout));
            stage.effective_percent()
        });
        RolloutView {
            name: rollout.map(|rollout| rollout.name.to_string()),
            unit: decision.unit.clone(),
            bucket: decision.bucket,
            percent: Percent::new(percent),
            transport: decision.transport,
            reason: decision.reason,
        }
    }
}

fn auth<'a>(auths: impl Iterator<Item = &'a Auth>) -> Option<Names> {
    let mut names: Vec<String> = auths.map(|auth| auth.name.to_string()).collect();
    match names.len() {
        0 | 1 => names.pop().map(Names::One),
        _ => Some(Names::More(names)),
    }
}

pub(super) fn require(require: &Require) -> RequireView {
    let claims = require.claims.iter().cloned();
    RequireView {
        roles: require.roles.clone(),
        claims: claims.map(|(name, values)| (name, values.into())).collect(),
    }
}

/// As the file has it.
fn share(route: &Route) -> Value {
    let accept: Vec<&str> = route.accept.iter().map(|wire| wire.as_str()).collect();
    let word = match &route.share {
        Share::User => return "user".into(),
        Share::Connection => return "connection".into(),
        Share::Claims(claims) if accept.is_empty() => return json!({"claims": claims}),
        Share::Claims(claims) => return json!({"claims": claims, "accept": accept}),
        Share::Public => "public",
        Share::Authenticated => "authenticated",
    };
    match accept.is_empty() {
        true => word.into(),
        false => {
            let mut share = Map::new();
            share.insert(word.to_owned(), true.into());
            share.insert("accept".to_owned(), accept.into());
            share.into()
        }
    }
}
