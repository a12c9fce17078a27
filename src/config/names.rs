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
    pub upstreams: &'n BTreeMap<String, Arc<Upstream>>,
    pub cors: &'n BTreeMap<String, Arc<Cors>>,
    pub auths: &'n BTreeMap<String, Arc<Auth>>,
    pub rate_limits: &'n BTreeMap<String, Arc<RateLimit>>,
    pub rollouts: &'n BTreeMap<String, Arc<Rollout>>,
}
