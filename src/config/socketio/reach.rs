//! Where the path of a template leads: to the route that a client's request would reach there.

use std::sync::Arc;

use hyper::Method;

use crate::bindings::Template;
use crate::config::route::Route;
use crate::config::route_choice::most_specific;

/// The routes of the file.
#[derive(Clone, Copy)]
pub(crate) struct ReachableRoutes<'r> {
    /// Those that could be read.
    pub(crate) routes: &'r [Arc<Route>],
    /// Whether all could be.
    pub(crate) are_all_known: bool,
}

/// Where a template leads.
pub(super) enum Reached<'r> {
    /// To a route that does what is meant.
    Right(&'r Arc<Route>),
    /// To one that does not, whatever the client's host is.
    Wrong(&'r Arc<Route>),
    /// To no route.
    Nowhere,
    /// To a route that could not be read.
    Unknown,
}

impl<'r> ReachableRoutes<'r> {
    /// Follows a template, by values that are none of the texts in the routes' paths; where no route expects such values, by those
    /// texts too: an event may name one of some streams. One host on which it leads to what is meant is enough: clients of
    /// Socket.IO may all come by that one.
    pub(super) fn follow(
        self,
        method: &Method,
        template: &Template,
        is_meant: impl Fn(&Route) -> bool,
    ) -> Reached<'r> {
        let path = template.as_str().split('?').next().unwrap_or_default();
        let found = self.reach(method, path, &is_meant);
        let is_expected = |found: &Reached<'_>| matches!(found, Reached::Wrong(route) if !route.path.contains("{*"));
        if matches!(found, Reached::Right(_)) || is_expected(&found) {
            return found;
        }
        let named = self.routes.iter().filter(|route| is_meant(route));
        let paths = named.filter_map(|route| named_by(&route.path, path));
        let mut all = paths.map(|path| self.reach(method, &path, &is_meant));
        let right = all.find(|reached| matches!(reached, Reached::Right(_)));
        right.unwrap_or(found)
    }

    fn reach(self, method: &Method, path: &str, is_meant: impl Fn(&Route) -> bool) -> Reached<'r> {
        // A pattern is a host that it fits.
        let hosts = self.routes.iter().filter_map(|route| route.host.as_deref());
        let mut found = None;
        for host in std::iter::once("").chain(hosts) {
            let Some(route) = most_specific(self.routes, host, method, path) else {
                continue;
            };
            if is_meant(route) {
                return Reached::Right(route);
            }
            found = found.or(Some(route));
        }
        match found {
            _ if !self.are_all_known => Reached::Unknown,
            Some(route) => Reached::Wrong(route),
            None => Reached::Nowhere,
        }
    }
}

/// The template's path with the texts of a route's path in place of placeholders; `None` where they do not meet.
fn named_by(route: &str, path: &str) -> Option<String> {
    let (mut wanted, mut given) = (route.split('/'), path.split('/'));
    let mut segments = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(segments.join("/")),
            (Some(wanted), Some(given)) if wanted.starts_with('{') => segments.push(given),
            (Some(wanted), Some(given)) if wanted == given || given.contains('{') => {
                segments.push(wanted);
            }
            (None, Some(given)) if route.contains("{*") => segments.push(given),
            _ => return None,
        }
    }
}
