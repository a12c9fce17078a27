use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde_json::json;

use super::parser::address::{self, Origin};
use super::parser::problem::Wrong;
use super::parser::table::Table;
use super::parser::units;

/// `[cors.NAME]`: which other origins may use what is here, over HTTP and by WebSocket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// NAME.
    pub name: String,
    /// Allowed origins, such as `"https://app.example.com"`, or `"capacitor://localhost"`, which is compared
    /// whole; `"https://*.example.com"` stands for one label, `"*"` for every client that sends no cookie.
    /// Empty: only the server's own host.
    pub origins: Vec<OriginPattern>,
    /// Whether their requests may carry cookies.
    pub credentials: bool,
    /// Methods that they may use; `"*"` (without credentials) for all.
    pub methods: Vec<Method>,
    /// Request headers that they may send; `"*"` (without credentials) for all but `authorization`.
    pub headers: Vec<String>,
    /// Response headers that they may read; `"*"` (without credentials) for all.
    pub expose: Vec<String>,
    /// How long a browser may remember a preflight's answer.
    pub max_age: Duration,
    /// Which side decides over HTTP: `"enforce"` (crossfade answers preflights, and its headers replace the
    /// backend's), `"passthrough"` or `"off"` (both leave it to the backend). The Origin of a WebSocket
    /// handshake is judged in every mode.
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
    /// `capacitor://localhost`: an origin of another scheme, compared whole.
    Whole(String),
    /// `"*"`: every origin, without cookies.
    Any,
}

pub(super) fn read(table: &Table<'_>, name: &str) -> Arc<Cors> {
    let cors = Cors {
        name: name.to_owned(),
        origins: table.texts("origins", origin),
        credentials: table.switch("credentials", false),
        methods: table.texts_or("methods", &METHODS, units::method),
        headers: table.texts_or("headers", &HEADERS, star_or_header),
        expose: table.texts_or("expose", &EXPOSE, star_or_header),
        max_age: table.window("max_age", "10m"),
        mode: table.word(
            "mode",
            [
                ("enforce", CorsMode::Enforce),
                ("passthrough", CorsMode::Passthrough),
                ("off", CorsMode::Off),
            ],
        ),
    };
    if cors.credentials && cors.origins.contains(&OriginPattern::Any) {
        let fix = "list the origins, or set `credentials = false`";
        table.error("origins", "allows \"*\" together with credentials", fix);
    }
    let stars = [
        ("methods", cors.methods.iter().any(|one| one == STAR)),
        ("headers", cors.headers.iter().any(|one| one == STAR)),
        ("expose", cors.expose.iter().any(|one| one == STAR)),
    ];
    for (key, _) in stars
        .iter()
        .filter(|(_, is_there)| *is_there && cors.credentials)
    {
        let what = "holds \"*\" together with credentials, which browsers then take for a name";
        table.error(key, what, "list them, or set `credentials = false`");
    }
    if cors.mode != CorsMode::Enforce {
        let enforced = ["credentials", "methods", "headers", "expose", "max_age"];
        for key in enforced.into_iter().filter(|key| table.says(key)) {
            let fix = "write `mode = \"enforce\"`, or remove it";
            table.warning(key, "has no effect in this mode", fix);
        }
    }
    Arc::new(cors)
}

const STAR: &str = "*";
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const HEADERS: [&str; 5] = [
    "authorization",
    "content-type",
    "last-event-id",
    "x-csrftoken",
    "x-requested-with",
];
const EXPOSE: [&str; 2] = ["etag", "x-request-id"];

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
    if text == STAR {
        return Ok(OriginPattern::Any);
    }
    if text == "null" {
        let fix = "remove it: any sandboxed page and any local file sends it";
        return Err(Wrong::new("is no site's own origin", fix));
    }
    let lower = text.to_ascii_lowercase();
    refuse_several(&lower)?;
    if let Some(bare) = lower
        .strip_suffix('/')
        .filter(|bare| address::origin(bare).is_ok())
    {
        let fix = format!("an origin ends before the slash: \"{bare}\"");
        return Err(Wrong::new("is no origin", fix));
    }
    if let Some(whole) = of_other_scheme(text)? {
        return Ok(OriginPattern::Whole(whole));
    }
    if lower.ends_with(':') {
        let bare = lower.trim_end_matches(':');
        let fix = format!("write its digits, or leave the colon out: \"{bare}\"");
        return Err(Wrong::new("has a port without digits", fix));
    }
    let starless = match lower.strip_prefix("*.") {
        Some(behind) => behind.to_owned(),
        None => lower.replacen("://*.", "://", 1),
    };
    if starless.contains('*') {
        let fix = "`*` stands for the first label alone, such as \"https://*.example.com\"";
        return Err(Wrong::new("has a `*` elsewhere than in front", fix));
    }
    if lower.starts_with("*.") {
        let fix = format!("write the scheme too: \"https://{lower}\"");
        return Err(Wrong::new("is not scheme, host and port", fix));
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

/// What an application's web view sends, such as `capacitor://localhost`: as it is, for its host may have a case. `None` where the
/// scheme is one of the web's, or where there is none.
fn of_other_scheme(text: &str) -> Result<Option<String>, Wrong> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(None);
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
        });
    let is_the_webs = ["http", "https", "ws", "wss"].contains(&scheme);
    if !is_scheme || is_the_webs || rest.is_empty() && scheme != "file" {
        return Ok(None);
    }
    if scheme == "file" {
        let fix = "remove it: any local file sends it";
        return Err(Wrong::new("is no site's own origin", fix));
    }
    if rest.contains('*') {
        let fix = "write it whole, as the application sends it";
        return Err(Wrong::new(
            "has a `*`, which stands for a label of http and https alone",
            fix,
        ));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    if !rest.bytes().all(is_plain) {
        let fix = "write scheme and host alone, such as \"capacitor://localhost\"";
        return Err(Wrong::new("is no origin", fix));
    }
    Ok(Some(text.to_owned()))
}

fn refuse_several(text: &str) -> Result<(), Wrong> {
    let between = |c: char| c == ',' || c == ';' || c.is_whitespace();
    let parts: Vec<_> = text
        .split(between)
        .filter(|part| !part.is_empty())
        .collect();
    match &parts[..] {
        [] | [_] if parts.concat() == text => Ok(()),
        [one] => {
            let fix = format!("write it alone: \"{one}\"");
            Err(Wrong::new("has something around it", fix))
        }
        _ => {
            let quoted: Vec<_> = parts.iter().map(|part| format!("\"{part}\"")).collect();
            let fix = format!("write each in quotes of its own: {}", quoted.join(", "));
            Err(Wrong::new("holds more than one origin", fix))
        }
    }
}

/// Browsers write them in lower case.
fn star_or_header(text: &str) -> Result<String, Wrong> {
    match text {
        STAR => Ok(STAR.to_owned()),
        _ => units::header_name(text).map(|name| name.as_str().to_owned()),
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
        for other in [
            "capacitor://localhost",
            "app://x",
            "chrome-extension://abCd",
        ] {
            assert_eq!(read(other), OriginPattern::Whole(other.to_owned()));
        }
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
    fn a_slip_comes_with_its_fix() {
        for (slip, fix) in [
            ("app.example.com", "\"https://app.example.com\""),
            ("https://app.example.com/", "\"https://app.example.com\""),
            ("https://app.example.com/x", "\"https://app.example.com\""),
            ("null", "remove it"),
            ("https://*", "the first label alone"),
            ("https://a.*.example.com", "the first label alone"),
            ("https://u@example.com", "scheme, host and port"),
            ("*.example.com", "\"https://*.example.com\""),
            ("https://app.example.com:", "\"https://app.example.com\""),
            ("https://app.example.com:x", "scheme, host and port"),
            (
                "https://a.test,https://b.test",
                "\"https://a.test\", \"https://b.test\"",
            ),
            (
                "https://a.test https://b.test",
                "\"https://a.test\", \"https://b.test\"",
            ),
            (" https://a.test", "alone: \"https://a.test\""),
            ("https://a.test,", "alone: \"https://a.test\""),
            ("https://*a.test", "the first label alone"),
            ("https://a.test*", "the first label alone"),
            ("file://", "remove it"),
            ("capacitor://", "begin with http:// or https://"),
            ("capacitor://localhost/", "\"capacitor://localhost\""),
            ("app://*", "write it whole"),
            ("ws://app.example.com", "begin with http:// or https://"),
            ("", "scheme, host and port"),
        ] {
            let wrong = origin(slip).expect_err(slip);
            assert!(wrong.fix.contains(fix), "{slip}: {wrong:?}");
        }
    }
}
