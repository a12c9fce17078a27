use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderValue;
use serde_json::json;

use super::parser::table::Table;
use super::parser::tree::{Node, NodeForm};
use super::parser::{scalar, units};
use crate::event::ChangeKind;
use crate::json;

/// What reads a bridged route's upstream.
#[expect(clippy::large_enum_variant, reason = "one per route, behind its `Arc`")]
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// A Server-Sent-Events stream.
    Sse(Sse),
    /// A polled endpoint.
    Poll(Poll),
}

/// `source = "sse"` or `{kind = "sse", …}`: a Server-Sent-Events stream is read, with reconnects and `Last-Event-ID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sse {
    /// Silence after which the stream counts as lost.
    pub(crate) idle_timeout: Duration,
    /// Renames events: `{upstream-name = "name the client sees"}`.
    pub(crate) events: BTreeMap<String, String>,
    /// `final`: names (the upstream's) of events that end the subscription for good once delivered, such as `["task_completed"]`.
    pub(crate) final_events: Vec<String>,
    /// What a newcomer without a position gets: `"live"` (what comes from now on), `"window"` (all that the topic still holds since its upstream connection began), `"own"` (a request of its own, until an event with an id comes by that the topic holds) or `"auto"` (whatever EventSource would have got, by what the stream's beginning was like; see sources.md).
    pub(crate) join: Join,
}

/// What a client gets that joins a stream without a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// As the stream's beginning asks for.
    Auto,
    /// What comes from now on.
    Live,
    /// All that the topic holds since its connection began.
    Window,
    /// A request of its own, until it meets the topic.
    Own,
}

/// `source = {kind = "poll", …}`: an endpoint is polled from the first subscriber on, and what changed goes out.
#[derive(Clone, Debug, PartialEq)]
pub struct Poll {
    /// From start to start.
    pub every: Duration,
    /// `min`, `max`: bounds between which the interval adapts to how often something changes. Default: fixed.
    pub adaptive: Option<(Duration, Duration)>,
    /// Plus or minus this many percent.
    pub jitter: f64,
    /// `"GET"` or `"POST"`.
    pub method: Method,
    /// A POST's body: a string goes out as it is (`application/json` where it is JSON, else `text/plain`), any other value as JSON.
    pub body: Option<(Bytes, HeaderValue)>,
    /// What clients receive: `"document"` (the whole document at each change), `"changes"` (one event per item created, updated or deleted), `"json-patch"` (RFC 6902) or `"merge-patch"` (RFC 7396).
    pub emit: Emit,
    /// JSON Pointer to the list inside the document.
    pub items: String,
    /// JSON Pointer to the key inside an item.
    pub key: String,
    /// JSON Pointers that don't count as change: inside an item for `changes`, else inside the document. `*` is every item or member.
    pub ignore: Vec<String>,
    /// `[route.source.events]`.
    pub events: ChangeNames,
    /// Percent of a list of ten or more whose sudden loss needs a second poll; 100 is off.
    pub mass_delete_guard: f64,
    /// Largest answer.
    pub max_body: usize,
}

/// What a polled route emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// The whole document at each change.
    Document,
    /// One event per item created, updated or deleted.
    Changes,
    /// An RFC 6902 array.
    JsonPatch,
    /// An RFC 7396 object.
    MergePatch,
}

/// `events` of a polled source: the names of the three kinds of change, and of a whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeNames {
    /// An item that was not there before.
    pub created: Arc<str>,
    /// An item that differs.
    pub updated: Arc<str>,
    /// An item that is gone.
    pub deleted: Arc<str>,
    /// A whole document, for clients of Socket.IO.
    pub snapshot: Arc<str>,
}

impl ChangeNames {
    /// The name of one of them.
    pub(crate) fn of(&self, kind: ChangeKind) -> &Arc<str> {
        match kind {
            ChangeKind::Created => &self.created,
            ChangeKind::Updated => &self.updated,
            ChangeKind::Deleted => &self.deleted,
        }
    }
}

/// `source` of a route.
pub(super) fn read(route: &Table<'_>) -> Option<Source> {
    let node = route.node("source");
    let Some(Node {
        form: NodeForm::Table(_),
        ..
    }) = node
    else {
        return bare(route, node);
    };
    Table::read(route.desk, node?, |table| {
        let kind = table.required("kind", "\"sse\"", |text| units::word(text, &KINDS));
        match kind {
            Some(Kind::Sse) => Some(Source::Sse(sse(table))),
            Some(Kind::Poll) => Some(Source::Poll(poll(table))),
            None => {
                judge_unknown(table);
                None
            }
        }
    })?
}

/// The rest of a source whose kind is not known, judged as what it looks like.
fn judge_unknown(table: &Table<'_>) {
    match (table.says_any(&POLL_KEYS), table.says_any(&SSE_KEYS)) {
        (true, false) => _ = poll(table),
        (false, true) => _ = sse(table),
        _ => table.leave_unread(),
    }
}

const SSE_KEYS: [&str; 3] = ["idle_timeout", "final", "join"];
const POLL_KEYS: [&str; 12] = [
    "every",
    "min",
    "max",
    "jitter",
    "method",
    "body",
    "emit",
    "items",
    "key",
    "ignore",
    "mass_delete_guard",
    "max_body",
];

#[derive(Clone, Copy)]
enum Kind {
    Sse,
    Poll,
}

const KINDS: [(&str, Kind); 2] = [("sse", Kind::Sse), ("poll", Kind::Poll)];

/// `source = "sse"`: all defaults.
fn bare(route: &Table<'_>, node: Option<&Node>) -> Option<Source> {
    route.note("source", node, json!(null));
    let kind = scalar::text(route.desk, node?, |text| units::word(text, &KINDS))?;
    let empty = route.empty("source");
    Some(match kind {
        Kind::Sse => Source::Sse(sse(&empty)),
        Kind::Poll => Source::Poll(poll(&empty)),
    })
}

fn sse(table: &Table<'_>) -> Sse {
    table.refuse_elsewhere(
        POLL_KEYS,
        "belongs to a polled source",
        "remove it, or write `kind = \"poll\"`",
    );
    Sse {
        idle_timeout: table.duration("idle_timeout", "60s"),
        events: table.pairs("events", units::something),
        final_events: table.texts("final", units::something),
        join: table.word(
            "join",
            [
                ("auto", Join::Auto),
                ("live", Join::Live),
                ("window", Join::Window),
                ("own", Join::Own),
            ],
        ),
    }
}

fn poll(table: &Table<'_>) -> Poll {
    table.refuse_elsewhere(
        SSE_KEYS,
        "belongs to an SSE source",
        "remove it, or write `kind = \"sse\"`",
    );
    let (every, adaptive) = pace(table);
    let (method, body) = request(table);
    let words = [
        ("document", Emit::Document),
        ("changes", Emit::Changes),
        ("json-patch", Emit::JsonPatch),
        ("merge-patch", Emit::MergePatch),
    ];
    let (emit, is_known) = (table.desk).judged(|| table.word("emit", words));
    if emit != Emit::Changes && is_known {
        for key in ["key", "events"] {
            if table.says(key) {
                let fix = "write `emit = \"changes\"`, or remove it";
                table.warning(key, "has no effect unless single changes are emitted", fix);
            }
        }
    }
    Poll {
        every,
        adaptive,
        // At 100 two polls could coincide.
        jitter: table.number("jitter", 10.0, 0.0..=90.0),
        method,
        body,
        emit,
        items: table.text_or("items", "", units::pointer),
        key: table.text_or("key", "/id", units::pointer),
        ignore: table.texts("ignore", units::pointer),
        events: table.table("events", change_names),
        mass_delete_guard: table.number("mass_delete_guard", 50.0, 0.0..=100.0),
        max_body: table.size("max_body", "8MiB"),
    }
}

fn pace(table: &Table<'_>) -> (Duration, Option<(Duration, Duration)>) {
    const LEAST: Duration = Duration::from_millis(10);
    let (every, is_known) = (table.desk).judged(|| table.duration("every", "1s"));
    let (min, max) = (
        table.text("min", units::duration),
        table.text("max", units::duration),
    );
    for (key, value) in [("every", Some(every)), ("min", min)] {
        if value.is_some_and(|value| value < LEAST) {
            table.error(
                key,
                "polls more than a hundred times a second",
                "write \"10ms\" or more",
            );
        }
    }
    match (min, max) {
        (Some(min), Some(max)) if min > max => {
            table.error("min", "is above `max`", "exchange them");
            (every, None)
        }
        (Some(min), Some(max))
            if table.says("every") && is_known && !(min..=max).contains(&every) =>
        {
            let fix = "write one between them, or leave it out";
            table.error("every", "is not between `min` and `max`", fix);
            (every, None)
        }
        (Some(min), Some(max)) => (every.clamp(min, max), Some((min, max))),
        _ => {
            // A bad one has been reported as such.
            for (key, other) in [("min", "max"), ("max", "min")] {
                if table.says(key) && !table.says(other) {
                    let fix =
                        "write both for an adaptive interval, or `every` alone for a fixed one";
                    table.error(key, format!("stands without `{other}`"), fix);
                }
            }
            (every, None)
        }
    }
}

fn request(table: &Table<'_>) -> (Method, Option<(Bytes, HeaderValue)>) {
    let words = [("GET", Method::GET), ("POST", Method::POST)];
    let (method, is_known) = (table.desk).judged(|| table.word("method", words));
    let node = table.node("body");
    let shown = match node {
        // What a placeholder brings into a body may well be a secret.
        Some(node) if node.origin().is_some() => json!("***"),
        _ => node.map_or(json!(null), Node::json),
    };
    table.record("body", node, shown);
    let Some(node) = node else {
        return (method, None);
    };
    if method != Method::POST && is_known {
        table.error(
            "body",
            "goes with a POST only",
            "write `method = \"POST\"`, or remove it",
        );
    }
    let json = HeaderValue::from_static("application/json");
    let body = match &node.form {
        NodeForm::Text(text) if !json::is_json(text.text.as_bytes()) => {
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            (Bytes::from(text.text.clone()), plain)
        }
        NodeForm::Text(text) => (Bytes::from(text.text.clone()), json),
        _ => (Bytes::from(node.json().to_string()), json),
    };
    (method, Some(body))
}

fn change_names(table: &Table<'_>) -> ChangeNames {
    let name = |key, default: &str| table.text_or(key, default, units::something).into();
    ChangeNames {
        created: name("created", "created"),
        updated: name("updated", "updated"),
        deleted: name("deleted", "deleted"),
        snapshot: name("snapshot", "snapshot"),
    }
}
