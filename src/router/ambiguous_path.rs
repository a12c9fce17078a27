//! Spellings of a path that a backend may take for another one: frameworks differ about case, empty segments, parameters
//! behind `;`, encoded separators and a slash at the end. A client that is accepted for one spelling must not reach what another
//! protects.

use std::sync::Arc;

use hyper::Method;

use super::readings::Readings;
use super::tree::{Named, RouteNode};
use super::{PathReading, Unclear};
use crate::config::{ENCODINGS, Route, Shape};

/// All routes by their folded templates; protected ones come first where two fold into one.
pub(super) struct AmbiguousPaths {
    root: RouteNode,
    /// A guarded template is not in lower case itself: then even a plain path may be meant for it.
    looks_at_all: bool,
}

impl AmbiguousPaths {
    /// `None` where nothing is protected: then it is all the same.
    pub(super) fn new(routes: &[Arc<Route>]) -> Option<Self> {
        let (guarded, open): (Vec<_>, Vec<_>) =
            routes.iter().partition(|route| !route.auth.is_empty());
        if guarded.is_empty() {
            return None;
        }
        let looks_at_all = guarded.iter().any(|route| {
            let parts = route.path.split('/').filter(|part| !part.starts_with('{'));
            parts
                .flat_map(str::bytes)
                .any(|byte| byte.is_ascii_uppercase())
        });
        let mut root = RouteNode::default();
        for route in guarded.into_iter().chain(open) {
            let (shape, names) = Shape::parse(&route.path.to_ascii_lowercase());
            root.insert(shape.parts(), Named::new(route.clone(), names));
        }
        Some(AmbiguousPaths { root, looks_at_all })
    }

    /// The readings of this canonical path that lead to routes which are guarded otherwise than `found`, one for each route;
    /// `written` are all routes by their templates as they are.
    pub(super) fn of(
        &self,
        written: &RouteNode,
        host: &str,
        method: &Method,
        path: &str,
        found: &Route,
    ) -> Result<Elsewhere, Unclear> {
        let mut others: Vec<PathReading> = Vec::new();
        if !self.looks_at_all && is_plain(path) {
            return Ok(Elsewhere::default());
        }
        let fits = |route: &Route| route.takes(host, method);
        let readings = Readings::of(path).ok_or(Unclear {
            reading: None,
            may_be_taken: false,
            is_by_case: false,
        })?;
        for key in readings.keys() {
            let folded = key.to_ascii_lowercase();
            for (root, key) in [(written, &key), (&self.root, &folded)] {
                let hit = root.find(key.strip_prefix('/'), &mut Vec::new(), &fits);
                let Some(hit) = hit.filter(|hit| is_guarded_otherwise(&hit.route, found)) else {
                    continue;
                };
                let is_new = |other: &PathReading| !Arc::ptr_eq(&other.route, &hit.route);
                if others.iter().all(is_new) {
                    let written = written.find(key.strip_prefix('/'), &mut Vec::new(), &fits);
                    others.push(PathReading {
                        path: key.clone(),
                        leads_there: written
                            .is_some_and(|written| Arc::ptr_eq(&written.route, &hit.route)),
                        route: hit.route.clone(),
                    });
                }
            }
        }
        let is_short = !readings.has_overlong;
        Ok(Elsewhere {
            is_taken: is_short && is_taken(path, &found.encoded),
            may_be_taken: is_short && ENCODINGS.iter().any(|encoding| path.contains(encoding)),
            readings: others,
        })
    }
}

/// Where else a path may lead.
#[derive(Default)]
pub(super) struct Elsewhere {
    pub(super) readings: Vec<PathReading>,
    /// Whether the route that was found takes the encodings that lead there.
    pub(super) is_taken: bool,
    /// Whether a route could take them: no `encoded` takes UTF-8 in longer form than needed.
    pub(super) may_be_taken: bool,
}

/// Whether a route that takes these encodings takes the ones of a canonical path.
fn is_taken(path: &str, taken: &[&str]) -> bool {
    let mut used = ENCODINGS
        .iter()
        .filter(|encoding| path.contains(**encoding))
        .peekable();
    used.peek().is_some() && used.all(|encoding| taken.contains(encoding))
}

fn is_guarded_otherwise(hit: &Route, found: &Route) -> bool {
    let names = |route: &Route| -> Vec<Arc<str>> {
        route.auth.iter().map(|auth| auth.name.clone()).collect()
    };
    let is_same = || hit.require == found.require && names(hit) == names(found);
    !hit.auth.is_empty() && !is_same()
}

/// Whether there is only one reading.
fn is_plain(path: &str) -> bool {
    let odd = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'%' | b';');
    let has_end = path.len() > 1 && path.ends_with('/');
    !has_end && !path.contains("//") && !path.bytes().any(odd)
}
