use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderName;
use serde_json::Value as Json;

use crate::config::load_balancing;
use crate::config::parser::problem::Wrong;
use crate::config::parser::table::Table;
use crate::config::parser::tree::NodeForm;
use crate::config::parser::{scalar, units};
use crate::config::upstream::{self, Upstream};

/// `kind = "forward"`: the backend is asked for the user, by a GET with the client's credentials. A 2xx
/// answer that is a JSON object with a user verifies the client; one without a user, 401, 403 and
/// redirects do not (401). Any other status is a fault, as if the backend could not be reached: no new client
/// comes in (503).
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Which `[upstream.NAME]`. Required.
    pub upstream: Arc<Upstream>,
    /// Path and query of the question, such as `"/api/me"`. Required.
    pub path: String,
    /// Cookies that go with it, such as `["session"]`: those that the answer depends on, so that no other
    /// cookie makes crossfade ask again. Default: all.
    pub cookies: Option<Vec<String>>,
    /// Header fields that go with it.
    pub headers: Vec<HeaderName>,
    /// Where the user stands in the answer: a member's name, or a JSON Pointer such as `"/user/id"`. Required.
    pub user: String,
    /// Where the tenant stands, likewise. Default: no user has one.
    pub tenant: Option<String>,
    /// Where the roles stand, likewise: a list, or words separated by spaces. Default: no user has any.
    pub roles: Option<String>,
    /// How long an answer holds.
    pub cache: Duration,
    /// How often the backend is asked again for connected clients, past the cache; a second or more.
    pub recheck: Duration,
    /// How long connected clients stay while the backend is out of reach.
    pub stale_if_error: Duration,
}

impl Forward {
    /// How long an answer holds for connected clients, where the backend cannot be asked again.
    pub(crate) fn good_for(&self) -> Duration {
        self.recheck.saturating_add(self.stale_if_error)
    }
}

/// `None` (reported) where something is missing.
pub(super) fn read(table: &Table<'_>, upstreams: &BTreeMap<String, Arc<Upstream>>) -> Forward {
    table.demand("upstream", "\"app\"");
    let upstream = table.reference("upstream", "upstream", upstreams);
    let path = table.required("path", "\"/api/me\"", load_balancing::check_path);
    let cookies = cookies(table);
    let headers = table.texts_or("headers", &["authorization"], header);
    let is_emptied = |key: &str| {
        let form = table.peek(key).map(|entry| &entry.node.form);
        matches!(form, Some(NodeForm::List(items)) if items.is_empty())
    };
    if is_emptied("cookies") && is_emptied("headers") {
        let what = "is empty, and so is `headers`: no client could present a credential";
        let fix = "name the session's cookie, or leave one of them out";
        table.error("cookies", what, fix);
    }
    let user = table.required("user", "\"user_id\"", units::member);
    let (tenant, roles) = (
        table.text("tenant", units::member),
        table.text("roles", units::member),
    );
    let cache = table.window("cache", "30s");
    let recheck = table.text_or("recheck", "60s", recheck);
    let stale_if_error = table.window("stale_if_error", "60s");
    // Where one of these is missing the file is refused.
    Forward {
        upstream: upstream.unwrap_or_else(|| upstream::stand_in(table)),
        path: path.unwrap_or_default(),
        cookies,
        headers,
        user: user.unwrap_or_default(),
        tenant,
        roles,
        cache,
        recheck,
        stale_if_error,
    }
}

fn cookies(table: &Table<'_>) -> Option<Vec<String>> {
    let node = table.node("cookies");
    table.note("cookies", node, Json::Null);
    Some(scalar::texts(table.desk, node?, units::cookie_name))
}

fn header(text: &str) -> Result<HeaderName, Wrong> {
    let name = units::header_name(text)?;
    match name.as_str() {
        "cookie" => Err(Wrong::new(
            "is a header of its own kind",
            "name the cookies in `cookies`",
        )),
        "origin" => Err(Wrong::new("identifies no user", "remove it")),
        _ if units::is_of_the_sidecar(&name) => Err(Wrong::new(
            "is set by the sidecar or by HTTP itself",
            "remove it",
        )),
        _ => Ok(name),
    }
}

/// Each session asks so often.
fn recheck(text: &str) -> Result<Duration, Wrong> {
    match units::duration(text)? {
        short if short < Duration::from_secs(1) => {
            Err(Wrong::new("is too short", "write \"1s\" or more"))
        }
        fitting => Ok(fitting),
    }
}
