use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderName;
use serde_json::json;

use super::parser::problem::Wrong;
use super::parser::table::Table;
use super::parser::tree::NodeForm;
use super::parser::{scalar, units};

/// `calls`: requests that clients may make over their connection; `["POST"]` stands for `{methods = ["POST"]}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Calls {
    /// Allowed methods, such as `["POST"]`.
    pub(crate) methods: Vec<Method>,
    /// Request headers that a client may set, such as `["x-csrftoken"]`; others are dropped.
    pub(crate) headers: Vec<HeaderName>,
    /// To the first byte of the answer.
    pub(crate) timeout: Duration,
    /// Largest request body.
    pub(crate) max_body: usize,
    /// Whether a request with a `key` (sent as `Idempotency-Key`) is safe to repeat.
    pub(crate) idempotent: bool,
}

pub(super) fn read(route: &Table<'_>) -> Option<Calls> {
    let node = route.node("calls");
    let calls = match node {
        Some(node) if matches!(node.form, NodeForm::Table(_)) => {
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
