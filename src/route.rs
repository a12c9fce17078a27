//! Which route a request belongs to. Pure.
//!
//! One leaf per path shape in `matchit`; host and method are resolved inside the leaf, and a leaf
//! without a fitting route falls through to the next best shape.

use std::sync::Arc;

use hyper::Method;

use crate::config::{Config, Route};

/// The configuration in force, replaced as a whole by a reload.
pub struct InForce {
    /// Counts accepted configurations, from 1.
    pub generation: u64,
    /// The finished values.
    pub config: Arc<Config>,
    /// Their routes.
    pub routes: RouteTable,
}

/// All routes, ready to be asked.
pub struct RouteTable {}

/// A route that fits a request.
#[derive(Clone, Debug)]
pub struct Match {
    /// The route.
    pub route: Arc<Route>,
    /// Path parameters by name, percent-decoded; `{*rest}` without its leading slash.
    pub params: Vec<(String, String)>,
    /// Whether this request may be bridged (route has a source and the method is GET or HEAD): other methods of a bridged
    /// route pass through under its policies.
    pub bridged: bool,
}

impl RouteTable {
    /// Builds the table. The configuration has checked templates and conflicts already.
    pub fn new(routes: &[Arc<Route>]) -> Self {
        todo!()
    }

    /// The most specific route: path shape first, then host, then a route that lists the method before one that lists none.
    ///
    /// `host` is the request's host without port, lower case; `path` is canonical, without query.
    pub fn find(&self, host: &str, method: &Method, path: &str) -> Option<Match> {
        todo!()
    }

    /// Routes with a source, in file order.
    pub fn bridged(&self) -> impl Iterator<Item = &Arc<Route>> {
        std::iter::empty()
    }

    /// Bridged routes (with the parameters that must be equal) whose `refresh_on` names this write.
    pub fn refreshed_by(
        &self,
        method: &Method,
        path: &str,
    ) -> Vec<(Arc<Route>, Vec<(String, String)>)> {
        todo!()
    }
}
