use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderName;

use crate::config::upstream::Upstream;

/// `kind = "forward"`: the backend is asked who somebody is, by a GET with their credentials.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Which `[upstream.NAME]`. Required.
    pub upstream: Arc<Upstream>,
    /// Path and query of the question. Required.
    pub path: String,
    /// Cookies that go with it; `None` for all.
    pub cookies: Option<Vec<String>>,
    /// Header fields that go with it.
    pub headers: Vec<HeaderName>,
    /// Where the user stands in the answer: a member's name, or a JSON Pointer. Required.
    pub user: String,
    /// Where the tenant stands, likewise.
    pub tenant: Option<String>,
    /// Where the roles stand, likewise.
    pub roles: Option<String>,
    /// How long an answer holds.
    pub cache: Duration,
    /// How often those who are connected are asked for again, past the cache.
    pub recheck: Duration,
    /// How long those who are connected stay while the authority is out of reach.
    pub stale_if_error: Duration,
}
