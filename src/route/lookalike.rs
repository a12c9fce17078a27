//! Spellings of a path that a backend may take for another one: frameworks differ about case, empty segments, parameters
//! behind `;`, encoded separators and a slash at the end. Who is let in for one spelling must not reach what another protects.

use std::sync::Arc;

use hyper::Method;
use percent_encoding::percent_decode_str;

use super::shape::Shape;
use super::tree::{Named, Node};
use super::{fits_host, fits_method};
use crate::config::Route;

/// All routes by their folded templates; protected ones come first where two fold into one.
pub(super) struct Lookalikes {
    root: Node,
    /// A guarded template is not in lower case itself: then even a plain path may be meant for it.
    looks_at_all: bool,
}

impl Lookalikes {
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
        let mut root = Node::default();
        for route in guarded.into_iter().chain(open) {
            let (shape, names) = Shape::parse(&route.path.to_ascii_lowercase());
            root.insert(shape.parts(), Named::new(route.clone(), names));
        }
        Some(Lookalikes { root, looks_at_all })
    }

    /// Whether any reading of this canonical path leads to a route that is guarded otherwise than `found`.
    pub(super) fn betrays(&self, host: &str, method: &Method, path: &str, found: &Route) -> bool {
        if !self.looks_at_all && is_plain(path) {
            return false;
        }
        let fits = |route: &Route| {
            fits_host(route.host.as_deref(), host) && fits_method(&route.methods, method)
        };
        readings(path).iter().any(|reading| {
            let mut values = Vec::new();
            let hit = self
                .root
                .find(reading.strip_prefix('/'), &mut values, &fits);
            hit.is_some_and(|hit| is_guarded_otherwise(&hit.route, found))
        })
    }
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

/// What frameworks may make of it, all in lower case: separators decoded once; everything decoded twice; each without
/// parameters, without the slash at the end, and without what may be a host.
fn readings(path: &str) -> Vec<String> {
    let lower = path.to_ascii_lowercase();
    let decode = |text: &str| {
        percent_decode_str(text)
            .decode_utf8_lossy()
            .to_ascii_lowercase()
    };
    let mut readings = Vec::new();
    for path in [Some(lower.as_str()), behind_host(&lower)]
        .into_iter()
        .flatten()
    {
        let separated = ["%2f", "%5c"]
            .iter()
            .fold(path.to_owned(), |path, separator| {
                path.replace(separator, "/")
            });
        let separated = separated.replace("%3b", ";");
        let decoded = decode(&decode(path)).replace('\\', "/");
        for text in [&separated, &decoded] {
            for with_parameters in [true, false] {
                let reading = settle(text, with_parameters);
                if let Some(bare) = reading.strip_suffix('/').filter(|bare| !bare.is_empty()) {
                    readings.push(bare.to_owned());
                }
                readings.push(reading);
            }
        }
    }
    readings
}

/// What is left where the target is resolved as a reference, as `new URL(target, base)` does: the first segment behind two
/// slashes is a host then.
fn behind_host(path: &str) -> Option<&str> {
    let host = path.strip_prefix("//")?.trim_start_matches('/');
    host.find('/').and_then(|end| host.get(end..))
}

/// Dots resolved, empty segments left out.
fn settle(path: &str, with_parameters: bool) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        let segment = match with_parameters {
            true => segment,
            false => segment.split(';').next().unwrap_or_default(),
        };
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let end = if path.ends_with('/') { "/" } else { "" };
    match segments.is_empty() {
        true => "/".to_owned(),
        false => format!("/{}{end}", segments.join("/")),
    }
}
