use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde_json::json;

use super::address::{self, Origin};
use super::problem::Wrong;
use super::table::Table;
use super::units;

/// `[cors.NAME]`: which other origins may use what is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// NAME.
    pub name: String,
    /// Allowed origins, such as `"https://app.example.com"`; `"https://*.example.com"` stands for one label, `"*"` for everybody who sends no cookie. Empty: only the server's own host.
    pub origins: Vec<OriginPattern>,
    /// Whether their requests may carry cookies.
    pub credentials: bool,
    /// Methods that they may use.
    pub methods: Vec<Method>,
    /// Request headers that they may send; `"*"` (without credentials) for all but `authorization`.
    pub headers: Vec<String>,
    /// Response headers that they may read.
    pub expose: Vec<String>,
    /// How long a browser may remember a preflight's answer.
    pub max_age: Duration,
    /// `"enforce"`: crossfade answers preflights, and its headers replace the backend's. `"passthrough"` and `"off"`: requests over HTTP are the backend's own matter. The Origin of a WebSocket handshake is judged in every mode.
    pub mode: CorsMode,
}

/// See [`Cors::mode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CorsMode {
    /// By the policy.
    #[default]
    Enforce,
    /// The backend's own headers stay.
    Passthrough,
    /// As a route without a policy.
    Off,
}

/// One allowed origin; scheme and host in lower case, the port always there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPattern {
    /// `https://app.example.com`.
    Exact {
        /// `http` or `https`.
        scheme: String,
        /// Host as in a URL.
        host: String,
        /// Explicit, or the scheme's default.
        port: u16,
    },
    /// `https://*.example.com`: exactly one label before `suffix`.
    OneLabel {
        /// `http` or `https`.
        scheme: String,
        /// What follows the first label, with its leading dot.
        suffix: String,
        /// Explicit, or the scheme's default.
        port: u16,
    },
    /// `"*"`: everybody who sends no cookie.
    Any,
}

pub(super) fn read(table: &Table<'_>, name: &str) -> Arc<Cors> {
    let origins = table.texts("origins", origin);
    let credentials = table.switch("credentials", false);
    if credentials && origins.contains(&OriginPattern::Any) {
        let mend = "list the origins, or set `credentials = false`";
        table.error("origins", "allows \"*\" together with credentials", mend);
    }
    table.texts("methods", units::method);
    table.texts("headers", star_or_header);
    table.texts("expose", star_or_header);
    table.text("max_age", units::window);
    table.word("mode", [("enforce", ()), ("passthrough", ()), ("off", ())]);
    for key in [
        "credentials",
        "methods",
        "headers",
        "expose",
        "max_age",
        "mode",
    ] {
        if table.says(key) {
            let what =
                "has no effect in this version: of `[cors.NAME]` only `origins` is enforced yet";
            table.warning(key, what, "remove it, or leave it for later");
        }
    }
    Arc::new(Cors {
        name: name.to_owned(),
        origins,
        credentials,
        methods: Vec::new(),
        headers: Vec::new(),
        expose: Vec::new(),
        max_age: Duration::from_secs(600),
        mode: CorsMode::Enforce,
    })
}

/// The policy that a table's `cors` names, else `[cors.default]`.
pub(super) fn of(table: &Table<'_>, all: &BTreeMap<String, Arc<Cors>>) -> Option<Arc<Cors>> {
    match table.says("cors") {
        true => table.reference("cors", "cors", all),
        false => {
            table.node("cors");
            let default = all.get("default");
            table.note("cors", None, json!(default.map(|_| "default")));
            default.cloned()
        }
    }
}

fn origin(text: &str) -> Result<OriginPattern, Wrong> {
    if text == "*" {
        return Ok(OriginPattern::Any);
    }
    if text == "null" {
        let mend = "remove it: sandboxed pages and files of anybody send it";
        return Err(Wrong::new("is nobody's origin", mend));
    }
    let lower = text.to_ascii_lowercase();
    if let Some(bare) = lower
        .strip_suffix('/')
        .filter(|bare| address::origin(bare).is_ok())
    {
        let mend = format!("an origin ends before the slash: \"{bare}\"");
        return Err(Wrong::new("is no origin", mend));
    }
    let starless = lower.replacen("://*.", "://", 1);
    if starless.contains('*') {
        let mend = "`*` stands for the first label alone, such as \"https://*.example.com\"";
        return Err(Wrong::new("has a `*` elsewhere than in front", mend));
    }
    let Origin { scheme, host, port } = address::origin(&starless)?;
    let scheme = scheme.to_owned();
    Ok(match starless.len() == lower.len() {
        true => OriginPattern::Exact {
            scheme,
            host: host.to_owned(),
            port,
        },
        false => OriginPattern::OneLabel {
            scheme,
            suffix: format!(".{host}"),
            port,
        },
    })
}

fn star_or_header(text: &str) -> Result<(), Wrong> {
    match text {
        "*" => Ok(()),
        _ => units::header_name(text).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let exact = |scheme: &str, host: &str, port| OriginPattern::Exact {
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            port,
        };
        let read = |text: &str| origin(text).expect(text);
        assert_eq!(
            read("https://App.example.com"),
            exact("https", "app.example.com", 443)
        );
        assert_eq!(
            read("http://localhost:3000"),
            exact("http", "localhost", 3000)
        );
        assert_eq!(read("http://[::1]"), exact("http", "[::1]", 80));
        assert_eq!(read("*"), OriginPattern::Any);
        assert_eq!(
            read("https://*.example.com:8443"),
            OriginPattern::OneLabel {
                scheme: "https".to_owned(),
                suffix: ".example.com".to_owned(),
                port: 8443,
            }
        );
    }

    #[test]
    fn a_slip_comes_with_its_mend() {
        for (slip, mend) in [
            ("app.example.com", "\"https://app.example.com\""),
            ("https://app.example.com/", "\"https://app.example.com\""),
            ("https://app.example.com/x", "\"https://app.example.com\""),
            ("null", "remove it"),
            ("https://*", "the first label alone"),
            ("https://a.*.example.com", "the first label alone"),
            ("https://u@example.com", "scheme, host and port"),
            ("", "scheme, host and port"),
        ] {
            let wrong = origin(slip).expect_err(slip);
            assert!(wrong.mend.contains(mend), "{slip}: {wrong:?}");
        }
    }
}
