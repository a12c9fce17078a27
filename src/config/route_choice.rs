//! Which of the routes takes a request: the most specific one that fits. Pure.

use std::sync::Arc;

use hyper::Method;

use super::path_shape::Shape;
use super::route::Route;

/// The route that a request reaches. `host` is without port, in lower case; `path` is canonical, without query. The router finds the
/// same one, by a tree.
pub(crate) fn most_specific<'r>(
    routes: &'r [Arc<Route>],
    host: &str,
    method: &Method,
    path: &str,
) -> Option<&'r Arc<Route>> {
    let fitting = routes.iter().filter_map(|route| {
        let (shape, _) = Shape::parse(&route.path);
        let fits = route.takes(host, method) && shape.values(path).is_some();
        fits.then_some((shape, route))
    });
    let first = fitting.min_by(|(shape, route), (other, than)| {
        let by_shape = shape.cmp(other);
        by_shape.then_with(|| route.rank().cmp(&than.rank()))
    });
    first.map(|(_, route)| route)
}

impl Route {
    /// Whether it takes requests for this host by this method; its path is another matter.
    pub(crate) fn takes(&self, host: &str, method: &Method) -> bool {
        fits_host(self.host.as_deref(), host) && fits_method(&self.methods, method)
    }

    /// Its place among routes of one shape, the most specific first: exact host before one label before any; then a route with
    /// methods before one without.
    pub(crate) fn rank(&self) -> (u8, bool) {
        let host = match self.host.as_deref() {
            Some(host) if host.starts_with("*.") => 1,
            Some(_) => 0,
            None => 2,
        };
        (host, self.methods.is_empty())
    }
}

fn fits_host(pattern: Option<&str>, host: &str) -> bool {
    let Some(pattern) = pattern else {
        return true;
    };
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(host),
        Some(suffix) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && suffix.eq_ignore_ascii_case(rest)),
    }
}

/// An empty list is every method; HEAD goes where GET goes.
fn fits_method(methods: &[Method], method: &Method) -> bool {
    methods.is_empty()
        || methods.contains(method)
        || (*method == Method::HEAD && methods.contains(&Method::GET))
}
