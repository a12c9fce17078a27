//! What a rule says against itself, its namespace and the routes.

use hyper::Method;

use super::filling::Filling;
use super::reach::{ReachableRoutes, Reached};
use super::rule::{Rule, RuleAction};
use crate::bindings::{BodyTemplate, Template};
use crate::config::parser::table::Table;
use crate::config::route::Route;

impl Rule {
    /// Reports what is wrong with it, in words of the frontend's event.
    pub(super) fn judge(
        &self,
        table: &Table<'_>,
        routes: ReachableRoutes<'_>,
        filling: Filling<'_>,
    ) {
        let event = &*self.event;
        match &self.action {
            RuleAction::Subscribe(path) | RuleAction::Unsubscribe(path) => {
                self.judge_subscription(table, routes, path);
                let fix = "write it in a rule with `call`, or remove it";
                let what =
                    format!("of the event `{event}` says how to call, and nothing is called");
                table.refuse_elsewhere(["body", "reply"], &what, fix);
            }
            RuleAction::Call { method, path } => {
                judge_call(table, routes, (event, method, path));
            }
        }
        if !matches!(self.action, RuleAction::Subscribe(_)) {
            let what = format!(
                "of the event `{event}` chooses what a subscription gets, and nothing is subscribed to"
            );
            let fix = "write it in a rule with `subscribe`, or remove it";
            table.refuse_elsewhere(["filter"], &what, fix);
        }
        self.judge_filling(table, filling);
    }

    fn judge_subscription(
        &self,
        table: &Table<'_>,
        routes: ReachableRoutes<'_>,
        template: &Template,
    ) {
        let (event, path) = (&self.event, template.as_str());
        let is_bridged = |route: &Route| route.source.is_some();
        let (what, fix) = match routes.follow(&Method::GET, template, is_bridged) {
            Reached::Unknown => return,
            Reached::Right(route) => {
                return self.judge_filter(table, route, |is_allowed| {
                    let is_meant = |route: &Route| is_bridged(route) && is_allowed(route);
                    matches!(
                        routes.follow(&Method::GET, template, is_meant),
                        Reached::Right(_)
                    )
                });
            }
            Reached::Wrong(route) => (
                format!(
                    "is for the event `{event}`, and the route \"{}\" at `{path}` has no `source`",
                    route.name
                ),
                "write a `source` in that `[[route]]`, or name another path",
            ),
            Reached::Nowhere => (
                format!("is for the event `{event}`, and no route is at `{path}`"),
                "write a `[[route]]` with a `source` for that path, or name another",
            ),
        };
        let key = match self.action {
            RuleAction::Subscribe(_) => "subscribe",
            _ => "unsubscribe",
        };
        table.error(key, what, fix);
    }

    /// A route of another host may allow what this one does not.
    fn judge_filter(
        &self,
        table: &Table<'_>,
        route: &Route,
        reaches: impl Fn(&dyn Fn(&Route) -> bool) -> bool,
    ) {
        let allows = |route: &Route, field: &String| route.filter.contains(field);
        let allows_all = |route: &Route| self.filter.iter().all(|(field, _)| allows(route, field));
        if !matches!(self.action, RuleAction::Subscribe(_)) || reaches(&allows_all) {
            return;
        }
        let strange = self.filter.iter().find(|(field, _)| !allows(route, field));
        if let Some((field, _)) = strange {
            let (event, name) = (&self.event, &route.name);
            let what = format!(
                "of the event `{event}` names `{field}`, which the route \"{name}\" does not allow"
            );
            table.error("filter", what, "add the field to that route's `filter`");
        }
    }

    fn judge_filling(&self, table: &Table<'_>, filling: Filling<'_>) {
        let (key, path) = match &self.action {
            RuleAction::Subscribe(path) => ("subscribe", path),
            RuleAction::Unsubscribe(path) => ("unsubscribe", path),
            RuleAction::Call { path, .. } => ("call", path),
        };
        let event = &*self.event;
        filling.judge_at_event(table, (key, event), path.placeholders());
        let body = self.body.iter().flat_map(BodyTemplate::placeholders);
        filling.judge_at_event(table, ("body", event), body);
        let filter = self.filter.iter();
        let filter = filter.flat_map(|(_, wanted)| wanted.placeholders());
        filling.judge_at_event(table, ("filter", event), filter);
        filling.judge_require(table, event);
    }
}

fn judge_call(
    table: &Table<'_>,
    routes: ReachableRoutes<'_>,
    (event, method, template): (&str, &Method, &Template),
) {
    let path = template.as_str();
    let takes = |route: &Route| {
        let calls = route.calls.as_ref();
        calls.is_some_and(|calls| calls.methods.contains(method))
    };
    let (what, fix) = match routes.follow(method, template, takes) {
        Reached::Right(_) | Reached::Unknown => return,
        Reached::Wrong(route) => (
            format!(
                "is for the event `{event}`, and the route \"{}\" at `{path}` does not list {method} in its `calls`",
                route.name
            ),
            format!("write `calls = [\"{method}\"]` in that `[[route]]`, or name another path"),
        ),
        Reached::Nowhere => (
            format!("is for the event `{event}`, and no route takes {method} at `{path}`"),
            format!(
                "write a `[[route]]` with `calls = [\"{method}\"]` for that path, or name another"
            ),
        ),
    };
    table.error("call", what, fix);
}
