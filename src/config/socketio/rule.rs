use std::sync::Arc;

use hyper::Method;

use super::filling::Filling;
use super::namespace::{body, event, refuse_reserved};
use super::reach::ReachableRoutes;
use super::template;
use crate::bindings::{BindingScope, BodyTemplate, Template};
use crate::config::parser::problem::Wrong;
use crate::config::parser::table::Table;
use crate::config::parser::units;
use crate::config::require::Require;
use crate::error::{Code, Refusal};
use crate::json::Scalar;

/// `[[socketio.namespace.on]]`: what an event of the client does; one of `subscribe`, `unsubscribe` and `call`. Templates know `{field}` and `{0}` of its arguments, `{claims.NAME}`, `{user}`, `{tenant}` and the namespace's parameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    /// The event's name. Required.
    pub(crate) event: Arc<str>,
    /// `subscribe`, `unsubscribe`, `call`: what it does. The path of a bridged route to subscribe to, or not any more; or a request, such as `"POST /api/tasks/{task_id}/cancel"`, to a route that lists the method in `calls`.
    pub(crate) action: RuleAction,
    /// The body of a call. Default: POST, PUT and PATCH send the first argument.
    pub(crate) body: Option<BodyTemplate>,
    /// What the user needs for it; its claims may be templates. Default: nothing.
    pub(crate) require: Option<RequireTemplate>,
    /// What a subscription is filtered by: fields that the route's `filter` allows.
    pub(crate) filter: Vec<(String, BodyTemplate)>,
    /// The event that brings a successful answer to all sockets of the user in the namespace; without a user, to the one that called. Default: none.
    pub(crate) reply: Option<Arc<str>>,
    /// The event that tells a refusal where no acknowledgement was asked for. Default: none.
    pub(crate) error: Option<Arc<str>>,
}

/// What an event does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RuleAction {
    /// Subscribes to this path.
    Subscribe(Template),
    /// Ends the subscription to this path.
    Unsubscribe(Template),
    /// Sends a request.
    Call {
        /// Its method.
        method: Method,
        /// Its path and query.
        path: Template,
    },
}

/// What a rule requires of the user.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RequireTemplate {
    pub(super) roles: Vec<String>,
    pub(super) claims: Vec<(String, BodyTemplate)>,
}

impl RequireTemplate {
    /// What it requires here.
    pub(crate) fn resolve(&self, scope: &BindingScope<'_>) -> Require {
        let claims = self.claims.iter();
        let claims = claims.map(|(name, wanted)| (name.clone(), wanted.alternatives(scope)));
        Require {
            roles: self.roles.clone(),
            claims: claims.collect(),
        }
    }
}

impl Rule {
    /// Field → accepted values; a field for which the client gives no value is left out.
    ///
    /// # Errors
    /// `forbidden` where a value of the user is missing: without it the client would see what is others'.
    pub(crate) fn filters(
        &self,
        scope: &BindingScope<'_>,
    ) -> Result<Vec<(String, Vec<Scalar>)>, Refusal> {
        let mut fields = Vec::new();
        for (field, wanted) in &self.filter {
            let wanted = wanted.scalars(scope).ok_or_else(|| {
                let detail = format!("nothing is known of the user to filter `{field}` by");
                Refusal::new(Code::Forbidden, detail)
            })?;
            if !wanted.is_empty() {
                fields.push((field.clone(), wanted));
            }
        }
        Ok(fields)
    }
}

pub(super) fn read(
    table: &Table<'_>,
    routes: ReachableRoutes<'_>,
    filling: Filling<'_>,
) -> Option<Rule> {
    let event = event(table, "event", "\"join_task\"")?;
    let subscribe = table.text("subscribe", template);
    let unsubscribe = table.text("unsubscribe", template);
    let call = table.text("call", call);
    refuse_several(table, &event);
    let action = match (subscribe, unsubscribe, call) {
        (Some(path), _, _) => RuleAction::Subscribe(path),
        (None, Some(path), _) => RuleAction::Unsubscribe(path),
        (None, None, Some((method, path))) => RuleAction::Call { method, path },
        (None, None, None) => {
            table.leave_unread();
            return None;
        }
    };
    let rule = Rule {
        action,
        body: body(table, "body"),
        require: table.optional_table("require", |require| RequireTemplate {
            roles: require.texts("roles", units::something),
            claims: pairs(require, "claims"),
        }),
        filter: pairs(table, "filter"),
        reply: table.text("reply", units::something).map(Arc::from),
        error: table.text("error", units::something).map(Arc::from),
        event,
    };
    for (key, name) in [("reply", &rule.reply), ("error", &rule.error)] {
        if let Some(name) = name {
            refuse_reserved(table, key, name);
        }
    }
    rule.judge(table, routes, filling);
    Some(rule)
}

/// A rule does one thing.
fn refuse_several(table: &Table<'_>, event: &str) {
    let said = ["subscribe", "unsubscribe", "call"];
    let what = match said.iter().filter(|key| table.says(key)).count() {
        0 => format!("says nothing of what the event `{event}` does"),
        1 => return,
        _ => format!("says several things of what the event `{event}` does"),
    };
    let fix = "write one of `subscribe`, `unsubscribe` and `call`";
    table.error("event", what, fix);
}

/// `"POST /api/tasks/{task_id}/cancel"`.
fn call(text: &str) -> Result<(Method, Template), Wrong> {
    let Some((method, path)) = text.split_once(' ') else {
        let fix = "write method and path, such as \"POST /api/tasks/{task_id}/cancel\"";
        return Err(Wrong::new("is no request", fix));
    };
    Ok((units::method(method)?, template(path.trim_start())?))
}

/// Templates by name.
fn pairs(table: &Table<'_>, key: &'static str) -> Vec<(String, BodyTemplate)> {
    match body(table, key) {
        None => Vec::new(),
        Some(BodyTemplate::Table(members)) => members,
        Some(_) => {
            table.error(key, "is no table", "write `{name = \"{field}\"}`");
            Vec::new()
        }
    }
}
