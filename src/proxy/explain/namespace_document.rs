//! The answer to `explain` of a namespace of Socket.IO, as it is printed.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::document::{Names, PolicyView, RequireView, RolloutView, Verdict, require};
use crate::config::{Namespace, Require};
use crate::policy::Policies;

/// What would become of a client that joins a namespace of Socket.IO, and of an event that it sends there.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct NamespaceExplanation {
    /// Its name, as the client says it.
    pub(super) namespace: String,
    /// Its name in the file; none where no namespace there is meant by it.
    pub(super) pattern: Option<String>,
    /// What the name says of the pattern's parameters.
    pub(super) params: Map<String, Value>,
    /// The `[auth.NAME]`, or a list of them.
    pub(super) auth: Option<Names>,
    /// The roles and claims that are required.
    pub(super) require: Option<RequireView>,
    /// The `[rate_limit.NAME]`.
    pub(super) rate_limit: Option<String>,
    /// What the rollout says; none where it has none.
    pub(super) rollout: Option<RolloutView>,
    /// What the client is subscribed to when it joins.
    pub(super) subscribe: Vec<JoinView>,
    /// The first event that it gets.
    pub(super) greet: Option<GreetView>,
    /// Whether it is let in.
    pub(super) verdict: Verdict,
    /// What the event does; none where none was asked about.
    pub(super) event: Option<RuleView>,
}

/// A subscription of every client of a namespace.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct JoinView {
    /// Its path; what is not known stays `{name}`.
    pub(super) path: String,
    /// The route's name.
    pub(super) route: Option<String>,
    /// Whether it is subscribed.
    pub(super) verdict: Verdict,
}

/// The first event of a namespace.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct GreetView {
    /// Its name.
    pub(super) event: String,
    /// Its argument; what is not known stays `{name}`.
    #[schemars(extend("type" = ["object", "array", "string", "number", "boolean", "null"]))]
    pub(super) body: Option<Value>,
}

/// What an event does.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct RuleView {
    /// Its name.
    pub(super) name: String,
    /// What its rule does.
    pub(super) action: EventAction,
    /// The method of a call.
    pub(super) method: Option<String>,
    /// Path and query; what is not known stays `{name}`.
    pub(super) path: Option<String>,
    /// The name of the route that answers.
    pub(super) route: Option<String>,
    /// What holds at that route.
    pub(super) policies: Option<PolicyView>,
    /// The roles and claims that the rule requires besides.
    pub(super) require: Option<RequireView>,
    /// What a subscription is filtered by.
    pub(super) filter: Map<String, Value>,
    /// The body of a call.
    #[schemars(extend("type" = ["object", "array", "string", "number", "boolean", "null"]))]
    pub(super) body: Option<Value>,
    /// The event that brings a successful answer to the user's sockets.
    pub(super) reply: Option<String>,
    /// The event that tells a refusal where no acknowledgement was asked for.
    pub(super) error: Option<String>,
    /// What comes of it.
    pub(super) verdict: Verdict,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum EventAction {
    /// Subscribes to the path.
    Subscribe,
    /// Ends the subscription.
    Unsubscribe,
    /// Sends a request.
    Call,
    /// Nothing: there is no rule for the event.
    Ignore,
}

impl NamespaceExplanation {
    /// Says what the file has of the namespace.
    pub(super) fn name(&mut self, namespace: &Namespace, params: &[(String, String)]) {
        let policies = PolicyView::new(&Policies::of_namespace(namespace));
        self.pattern = Some(namespace.name.as_str().to_owned());
        let params = params.iter();
        self.params = params
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        self.auth = policies.auth;
        self.require = policies.require;
        self.rate_limit = policies.rate_limit;
    }
}

impl RuleView {
    /// An event whose rule is yet to be looked at.
    pub(super) fn new(name: &str) -> Self {
        RuleView {
            name: name.to_owned(),
            action: EventAction::Ignore,
            method: None,
            path: None,
            route: None,
            policies: None,
            require: None,
            filter: Map::new(),
            body: None,
            reply: None,
            error: None,
            verdict: Verdict::default(),
        }
    }

    pub(super) fn requires(&mut self, required: &Require) {
        self.require = Some(require(required));
    }
}
