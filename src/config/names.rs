//! What tables refer to by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::auth::Auth;
use super::cors::Cors;
use super::rate_limit::RateLimit;
use super::rollout::Rollout;
use super::upstream::Upstream;

/// What a route or `[websocket]` may refer to.
pub(super) struct Names<'n> {
    pub(crate) upstreams: &'n BTreeMap<String, Arc<Upstream>>,
    pub(crate) cors: &'n BTreeMap<String, Arc<Cors>>,
    pub(crate) auths: &'n BTreeMap<String, Arc<Auth>>,
    pub(crate) rate_limits: &'n BTreeMap<String, Arc<RateLimit>>,
    pub(crate) rollouts: &'n BTreeMap<String, Arc<Rollout>>,
}
