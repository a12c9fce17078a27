use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderName;
use serde_json::json;

use super::parser::problem::Wrong;
use super::parser::table::Table;
use super::parser::tree::Form;
use super::parser::{path_template, scalar, units};

/// `calls`: requests that clients may make over their connection; `["POST"]` stands for `{methods = ["POST"]}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Allowed methods, such as `["POST"]`.
    pub methods: Vec<Method>,
    /// Request headers that a client may set, such as `["x-csrftoken"]`; others are dropped.
    pub headers: Vec<HeaderName>,
    /// To the first byte of the answer.
    pub timeout: Duration,
    /// Largest request body.
    pub max_body: usize,
    /// Whether a request with a `key` (sent as `Idempotency-Key`) is safe to repeat.
    pub idempotent: bool,
}

/// A write that triggers a poll: method and path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshOn {
    /// Of the write.
    pub method: Method,
    /// Path template; parameters with the route's own names must be equal.
    pub path: String,
}

pub(super) fn read(route: &Table<'_>) -> Option<Calls> {
    let node = route.node("calls");
    let calls = match node {
        Some(node) if matches!(node.form, Form::Table(_)) => {
            Table::read(route.desk, node, |table| {
                calls(table, table.texts("methods", units::method))
            })?
        }
        _ => {
            route.note("calls", node, json!(null));
            let methods = scalar::texts(route.desk, node?, units::method);
            calls(&route.empty("calls"), methods)
        }
    };
    route.refuse_empty("calls", "\"POST\"");
    route.refuse_empty("calls.methods", "\"POST\"");
    Some(calls)
}

fn calls(table: &Table<'_>, methods: Vec<Method>) -> Calls {
    Calls {
        methods,
        headers: table.texts("headers", call_header),
        timeout: table.duration("timeout", "30s"),
        max_body: table.size("max_body", "64KiB"),
        idempotent: table.switch("idempotent", false),
    }
}

/// `"PATCH /api/matters/{id}"`.
pub(super) fn refresh_on(text: &str) -> Result<RefreshOn, Wrong> {
    let Some((method, path)) = text.split_once(' ') else {
        let mend = "write method and path, such as \"PATCH /api/matters/{id}\"";
        return Err(Wrong::new("is no write", mend));
    };
    let method = units::method(method)?;
    if method.is_safe() {
        return Err(Wrong::new(
            "changes nothing",
            "name a write, such as POST or PATCH",
        ));
    }
    let path = path_template::template(path.trim_start())?;
    Ok(RefreshOn { method, path })
}

/// Credentials and framing are the sidecar's business.
fn call_header(text: &str) -> Result<HeaderName, Wrong> {
    let name = units::header_name(text)?;
    let taken = ["cookie", "authorization", "idempotency-key", "origin"];
    match taken.contains(&name.as_str()) || units::is_of_the_sidecar(&name) {
        true => Err(Wrong::new(
            "is set by the sidecar or by HTTP itself",
            "remove it",
        )),
        false => Ok(name),
    }
}
