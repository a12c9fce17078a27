//! What an event of a client does in its namespace, and where it is subscribed when it joins. The order is the session's: what the
//! rule requires, its path, its filter, the route and its policies, what the route takes, its rollout.

use hyper::Method;
use serde_json::Value;

use super::super::context::Address;
use super::Asked;
use super::document::{PolicyView, Verdict};
use super::namespace::decide_route;
use super::namespace_document::{EventAction, JoinView, RuleView};
use crate::bindings::{BindingScope, BodyTemplate};
use crate::config::{Namespace, Rule, RuleAction};
use crate::error::{Code, Refusal};
use crate::http::path;
use crate::http::problem::Problem;
use crate::policy::auth::Identity;
use crate::policy::{Ask, Policies};
use crate::router::Match;

/// A client in a namespace, or one that would be there if it were let in.
pub(super) struct JoinedClient<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) namespace: &'a Namespace,
    pub(super) params: &'a [(String, String)],
    pub(super) identity: Option<&'a Identity>,
    /// Why it is not let in.
    pub(super) refused: Option<&'a Verdict>,
}

impl JoinedClient<'_> {
    /// What templates are filled from.
    pub(super) fn scope<'s>(&'s self, args: &'s [Value]) -> BindingScope<'s> {
        BindingScope {
            args,
            attachments: &[],
            params: self.params,
            user: self.identity.map(|identity| identity.user.as_str()),
            tenant: self
                .identity
                .and_then(|identity| identity.tenant.as_deref()),
            claims: self.identity.map(|identity| &identity.claims),
        }
    }

    /// What the client is subscribed to when it joins.
    pub(super) fn subscribed(&self) -> Vec<JoinView> {
        let templates = self.namespace.subscribe.iter();
        let joined = templates.map(|template| {
            let path = template.sketch(&self.scope(&[]));
            let found = self.find(&Method::GET, &path);
            let mut view = JoinView {
                route: found
                    .as_ref()
                    .ok()
                    .map(|found| found.route.name.to_string()),
                verdict: Verdict::default(),
                path,
            };
            let verdict = self.expect_inside().and_then(|()| {
                template.path(&self.scope(&[]))?;
                self.subscribe(&found?)
            });
            view.verdict = verdict.unwrap_or_else(|ends| ends);
            view
        });
        joined.collect()
    }

    /// What an event does, with these arguments or with any.
    pub(super) fn event(&self, name: &str, args: Option<&[Value]>) -> RuleView {
        let mut view = RuleView::new(name);
        let mut rules = self.namespace.on.iter();
        let verdict = match rules.find(|rule| *rule.event == *name) {
            Some(rule) => self.follow(rule, args, &mut view),
            None => self.expect_inside().and_then(|()| {
                let detail = "no rule is there for this event: it is ignored, and an acknowledgement says 404";
                Err(Refusal::new(Code::NotFound, detail).into())
            }),
        };
        view.verdict = verdict.unwrap_or_else(|ends| ends);
        view
    }

    fn follow(
        &self,
        rule: &Rule,
        args: Option<&[Value]>,
        view: &mut RuleView,
    ) -> Result<Verdict, Verdict> {
        let scope = self.scope(args.unwrap_or_default());
        let (action, method, template) = match &rule.action {
            RuleAction::Subscribe(path) => (EventAction::Subscribe, &Method::GET, path),
            RuleAction::Unsubscribe(path) => (EventAction::Unsubscribe, &Method::GET, path),
            RuleAction::Call { method, path } => (EventAction::Call, method, path),
        };
        let path = template.sketch(&scope);
        let found = self.find(method, &path);
        view.action = action;
        view.path = Some(path);
        if let Ok(found) = &found {
            view.route = Some(found.route.name.to_string());
            view.policies = Some(PolicyView::of_route(&found.route));
        }
        if action == EventAction::Call {
            view.method = Some(method.to_string());
            view.body = body_of(rule, method, &scope, args.is_some());
        }
        let filter = rule.filter.iter();
        let filter = filter.map(|(field, wanted)| (field.clone(), wanted.sketch(&scope)));
        view.filter = filter.collect();
        view.reply = rule.reply.as_deref().map(str::to_owned);
        view.error = rule.error.as_deref().map(str::to_owned);
        let required = rule.require.as_ref();
        let required = required.map(|required| (required.sketch(&scope), required.resolve(&scope)));
        if let Some(((written, _), _)) = &required {
            view.requires(written);
        }

        self.expect_inside()?;
        if let Some(((_, is_known), resolved)) = required
            && (is_known || args.is_some())
        {
            let forbidden = |detail: String| Refusal::new(Code::Forbidden, detail);
            let user = self.identity;
            let user = user.ok_or_else(|| forbidden("no user is known here".to_owned()))?;
            let fits = user.fits(&resolved);
            fits.map_err(|unfit| forbidden(unfit.detail().into_owned()))?;
        }
        if args.is_some() {
            template.path(&scope)?;
            rule.filters(&scope)?;
        }
        match (action, found?) {
            (EventAction::Subscribe, found) => self.subscribe(&found),
            (EventAction::Call, found) => self.call(&found, method, rule),
            (EventAction::Unsubscribe | EventAction::Ignore, _) => Ok(Verdict::open(
                "passes: the subscription ends, and an acknowledgement says 200; 404 where there is none"
                    .to_owned(),
            )),
        }
    }

    fn expect_inside(&self) -> Result<(), Verdict> {
        self.refused.map_or(Ok(()), |refused| {
            let why = match refused.status {
                Some(_) => "not reached: the client is not let into the namespace",
                None => {
                    "not judged: whether the client is in the namespace is what its verdict says"
                }
            };
            Err(Verdict {
                why: why.to_owned(),
                ..refused.clone()
            })
        })
    }

    /// The route of a path in which placeholders may be left.
    fn find(&self, method: &Method, url: &str) -> Result<Match, Verdict> {
        let in_force = self.asked.world.in_force;
        let (raw, query) = match url.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (url, None),
        };
        let bad = |problem: Problem| Refusal::new(Code::BadFrame, problem.detail);
        let path = path::canonical(raw).map_err(|fault| bad(Problem::of_path(fault, raw)))?;
        let prefix = &in_force.config.server.prefix;
        let own = path.strip_prefix(&**prefix);
        if own.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(no_route().into());
        }
        let address = Address {
            in_force,
            host: &self.asked.host,
            path: &path,
            query,
        };
        let found = address.find(method);
        let found = found.map_err(|problem| match problem.status.as_u16() {
            404 => no_route(),
            _ => bad(problem),
        });
        Ok(found?)
    }

    fn subscribe(&self, found: &Match) -> Result<Verdict, Verdict> {
        self.asked.check(Ask::Sub, Policies::of_match(found))?;
        if !found.bridged {
            return Err(Refusal::new(Code::NotFound, "no bridged route is there").into());
        }
        self.expect_rollout(found)?;
        let name = &found.route.upstream.name;
        Ok(Verdict::open(format!(
            "passes: the client is subscribed to what upstream `{name}` sends there; an acknowledgement says 200"
        )))
    }

    fn call(&self, found: &Match, method: &Method, rule: &Rule) -> Result<Verdict, Verdict> {
        self.asked.check(Ask::Req, Policies::of_match(found))?;
        self.expect_rollout(found)?;
        let calls = found.route.calls.as_ref();
        if !calls.is_some_and(|calls| calls.methods.contains(method)) {
            let detail = "the route takes no such request";
            return Err(Refusal::new(Code::Forbidden, detail).into());
        }
        let reply = match &rule.reply {
            Some(reply) => format!(", and a successful one comes as the event `{reply}`"),
            None => String::new(),
        };
        let name = &found.route.upstream.name;
        Ok(Verdict::open(format!(
            "passes: the request goes to upstream `{name}`, whose answer is the acknowledgement{reply}"
        )))
    }

    /// The namespace's own rollout has decided for all that is reached through it.
    fn expect_rollout(&self, found: &Match) -> Result<(), Verdict> {
        match &found.route.rollout {
            Some(rollout) if self.namespace.rollout.is_none() => {
                decide_route(self.asked, rollout, self.identity)
            }
            _ => Ok(()),
        }
    }
}

/// The body of a call: with arguments as it is sent, and else as far as it is known.
fn body_of(
    rule: &Rule,
    method: &Method,
    scope: &BindingScope<'_>,
    has_args: bool,
) -> Option<Value> {
    let first = BodyTemplate::first_argument();
    let body = match (&rule.body, method) {
        (Some(body), _) => body,
        (None, &Method::POST | &Method::PUT | &Method::PATCH)
            if !has_args || !scope.args.is_empty() =>
        {
            &first
        }
        (None, _) => return None,
    };
    Some(match has_args {
        true => body.value(scope),
        false => body.sketch(scope),
    })
}

fn no_route() -> Refusal {
    Refusal::new(Code::NotFound, "no route is there")
}
