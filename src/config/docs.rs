//! `docs/configuration.md`, made from the comments of the finished types and from the defaults that
//! the readers really apply. `UPDATE_DOCS=1` writes it anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::tests::{generic, judge};
use super::{Loaded, Problem};

/// Page, type, and where its keys are in `cases/every_table.toml`.
const TABLES: [(&str, &str, &str); 34] = [
    (include_str!("server.rs"), "Server", "server"),
    (include_str!("tls.rs"), "Tls", "server.tls"),
    (include_str!("server.rs"), "Limits", "server.limits"),
    (include_str!("websocket.rs"), "WebSocket", "websocket"),
    (include_str!("websocket.rs"), "Queue", "websocket.queue"),
    (include_str!("admin.rs"), "Admin", "admin"),
    (include_str!("upstream.rs"), "Upstream", "upstream.app"),
    (include_str!("upstream_tls.rs"), "Trust", "upstream.app.tls"),
    (
        include_str!("load_balancing.rs"),
        "Health",
        "upstream.app.health",
    ),
    (
        include_str!("load_balancing.rs"),
        "Budget",
        "upstream.app.budget",
    ),
    (include_str!("route.rs"), "Route", "route.0"),
    (include_str!("source.rs"), "Sse", "route.0.source"),
    (include_str!("source.rs"), "Poll", "route.1.source"),
    (
        include_str!("source.rs"),
        "ChangeNames",
        "route.1.source.events",
    ),
    (include_str!("delivery.rs"), "Replay", "route.0.replay"),
    (include_str!("delivery.rs"), "Deliver", "route.0.deliver"),
    (include_str!("calls.rs"), "Calls", "route.0.calls"),
    (include_str!("auth/mod.rs"), "Auth", "auth.jwt"),
    (include_str!("auth/jwt.rs"), "Jwt", "auth.jwt"),
    (include_str!("auth/forward.rs"), "Forward", "auth.session"),
    (include_str!("auth/api_key.rs"), "ApiKeys", "auth.keys"),
    (include_str!("auth/headers.rs"), "Csrf", "auth.session.csrf"),
    (
        include_str!("auth/headers.rs"),
        "IdentityHeaders",
        "auth.jwt.identity",
    ),
    (include_str!("require.rs"), "Require", "route.0.require"),
    (include_str!("cors.rs"), "Cors", "cors.default"),
    (
        include_str!("rate_limit.rs"),
        "RateLimit",
        "rate_limit.default",
    ),
    (include_str!("rollout.rs"), "Rollout", "rollout.web"),
    (include_str!("socketio/mod.rs"), "SocketIo", "socketio"),
    (
        include_str!("socketio/namespace.rs"),
        "Namespace",
        "socketio.namespace.0",
    ),
    (
        include_str!("socketio/namespace.rs"),
        "Greet",
        "socketio.namespace.0.greet",
    ),
    (
        include_str!("socketio/rule.rs"),
        "Rule",
        "socketio.namespace.0.on.0",
    ),
    (include_str!("log.rs"), "Log", "log"),
    (include_str!("metrics.rs"), "Metrics", "metrics"),
    (include_str!("tracing.rs"), "Tracing", "tracing"),
];

const HEAD: &str = "\
# Configuration

<!-- Made from the comments in src/config by a test; `UPDATE_DOCS=1 cargo test --lib config::docs` writes it anew. -->

One TOML file, `proxy.toml`. `proxy.toml.example` holds every key; `crossfade check proxy.toml` names every
mistake at once, each with its line, its column and how to fix it. The smallest useful file:

```toml
[upstream.app]
servers = [\"http://127.0.0.1:5000\"]

[[route]]
path = \"/api/progress_stream/{task_id}\"
upstream = \"app\"
source = {kind = \"sse\", final = [\"task_completed\", \"task_cancelled\", \"task_error\"]}

[[route]]
path = \"/{*path}\"
upstream = \"app\"
```

- **Durations** are strings: `\"250ms\"`, `\"5s\"`, `\"7d\"`. **Sizes** are strings: `\"64KiB\"`, `\"1MiB\"`.
  **Percentages** are numbers from 0 to 100 with up to three decimals.
- **Placeholders** in strings: `${NAME}` and `${NAME:-default}` come from the environment, `${file:/path}` from a
  file (its last line break is left out; a relative path starts at the configuration file). `$${` stands for a
  plain `${`. A value that is one placeholder may stand for a number or a boolean. A change of such a file is
  a change of the configuration.
- **Unknown keys** are errors. So are keys of later versions that would protect something; those that only tune
  are warnings. Both are listed at the end.
- **Reload**: on a change of the file, SIGHUP or `POST /v1/config/reload`. A file with a mistake changes nothing.
  A restart is needed only where a key says so.
";

#[test]
fn the_reference_is_up_to_date() {
    let page = page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, &page).expect("written");
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == page,
        "docs/configuration.md is stale: run with UPDATE_DOCS=1"
    );
}

#[test]
fn the_reference_names_every_key() {
    let documented: BTreeSet<String> = TABLES
        .iter()
        .flat_map(|(page, name, prefix)| {
            let rows = Documented::find(page, name).rows;
            rows.into_iter().flat_map(move |row| {
                row.keys
                    .into_iter()
                    .map(move |key| generic(&format!("{prefix}.{key}")))
            })
        })
        .chain(later("").into_iter().map(|key| generic(&key)))
        .chain(["route.N.source.kind".to_owned()])
        .collect();
    let known = defaults()
        .values
        .into_iter()
        .map(|value| generic(&value.key));
    let missing: Vec<_> = known.filter(|key| !documented.contains(key)).collect();
    assert_eq!(missing, [""; 0]);
}

fn page() -> String {
    let defaults = defaults();
    let mut page = HEAD.to_owned();
    for (source, name, prefix) in TABLES {
        let Documented { title, text, rows } = Documented::find(source, name);
        page += &format!(
            "\n## {title}\n\n{}| key | default | what it is |\n|---|---|---|\n",
            wrapped(&text)
        );
        for Row { keys, text } in rows {
            let default = |key: &String| {
                if text.contains("Default: ") {
                    return String::new();
                }
                if text.ends_with("Required.") {
                    return "required".to_owned();
                }
                let key = format!("{prefix}.{key}");
                let found = defaults.values.iter().find(|value| value.key == key);
                match found.map(|value| (value.source.as_str(), value.value.to_string())) {
                    Some(("default", value)) if value != "null" => format!("`{value}`"),
                    _ => String::new(),
                }
            };
            let mut shown: Vec<_> = keys.iter().map(default).collect();
            shown.dedup();
            let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
            page += &format!("| {} | {} | {text} |\n", keys.join(", "), shown.join(", "));
        }
    }
    page += "\n## Keys of later versions\n\n";
    let refused = listed(later("is not supported by this version"));
    page += &wrapped(&format!("Refused: {refused}."));
    let ignored = listed(later("has no effect in this version"));
    page += &wrapped(&format!("Without effect, and warned of: {ignored}."));
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// In lines of at most 120 columns, with an empty one behind.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > 120 {
            lines.push('\n');
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += width;
    }
    lines + "\n\n"
}

fn listed(keys: Vec<String>) -> String {
    let quoted: Vec<_> = keys
        .iter()
        .map(|key| format!("`{}`", generic(key)))
        .collect();
    quoted.join(", ")
}

fn defaults() -> Loaded {
    judge(include_str!("cases/every_table.toml")).expect("valid")
}

/// Keys that are reported so, in the order of `cases/not_yet_supported.toml`.
fn later(what: &str) -> Vec<String> {
    let problems = judge(include_str!("cases/not_yet_supported.toml")).expect_err("refused");
    let said = |problem: &Problem| problem.message.contains(what);
    problems
        .into_iter()
        .filter(said)
        .map(|problem| problem.key)
        .collect()
}

/// A type's comments.
struct Documented {
    title: String,
    text: String,
    rows: Vec<Row>,
}

struct Row {
    keys: Vec<String>,
    text: String,
}

impl Documented {
    fn find(page: &str, name: &str) -> Documented {
        let (before, after) = page
            .split_once(&format!(" struct {name} {{\n"))
            .unwrap_or_else(|| panic!("no type {name}"));
        let above: Vec<_> = before
            .lines()
            .rev()
            .skip(1)
            .skip_while(|line| line.starts_with("#["))
            .collect();
        let comment = comment(
            above
                .into_iter()
                .take_while(|line| line.starts_with("///"))
                .collect(),
        );
        let (title, text) = comment
            .split_once(": ")
            .unwrap_or_else(|| panic!("no title: {comment}"));
        let body = after.split_once("\n}").map_or(after, |(body, _)| body);
        let mut rows = Vec::new();
        let mut lines = Vec::new();
        for line in body.lines().map(str::trim) {
            let field = ["pub ", "pub(crate) "]
                .iter()
                .find_map(|visibility| line.strip_prefix(visibility));
            match field.and_then(|field| field.split_once(':')) {
                Some((field, _)) => rows.extend(Row::new(field, std::mem::take(&mut lines))),
                None => lines.insert(0, line),
            }
        }
        Documented {
            title: title.to_owned(),
            text: sentence(text),
            rows,
        }
    }
}

impl Row {
    /// `None` for fields that are no keys. A comment may begin with the keys where they differ from the field.
    fn new(field: &str, lines: Vec<&str>) -> Option<Row> {
        let text = comment(lines);
        if ["NAME.", "Place in the file", "Tripwires silenced", "No key"]
            .iter()
            .any(|no| text.starts_with(no))
        {
            return None;
        }
        let named = text.split_once(": ").filter(|(keys, _)| {
            keys.split(", ").all(|key| {
                key.len() > 2
                    && key.starts_with('`')
                    && key.ends_with('`')
                    && !key.starts_with("`[")
            })
        });
        Some(match named {
            Some((keys, text)) => Row {
                keys: keys
                    .split(", ")
                    .map(|key| key.trim_matches('`').to_owned())
                    .collect(),
                text: sentence(text),
            },
            None if text.starts_with("`[") => Row {
                keys: vec![field.to_owned()],
                text: "A table of its own, below.".to_owned(),
            },
            None => Row {
                keys: vec![field.to_owned()],
                text,
            },
        })
    }
}

/// Joins comment lines, which come last one first.
fn comment(lines: Vec<&str>) -> String {
    let bare = lines
        .into_iter()
        .rev()
        .filter_map(|line| line.strip_prefix("///"));
    bare.map(str::trim).collect::<Vec<_>>().join(" ")
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}
