//! What routes say against each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::desk::Desk;
use super::route::Route;
use super::template;

/// A route and where its header stands.
pub(super) struct Placed {
    pub route: Route,
    pub place: usize,
    /// Whether the file names it.
    pub is_named: bool,
}

/// Tells default names apart, and reports routes that would hide each other.
pub(super) fn settle(desk: &Desk<'_>, prefix: &str, mut routes: Vec<Placed>) -> Vec<Arc<Route>> {
    tell_apart(&mut routes);
    refuse_twins(desk, &routes);
    refuse_namesakes(desk, &routes);
    for Placed { route, place, .. } in &routes {
        if route
            .path
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('/'))
        {
            let key = format!("route.{}.path", route.index);
            let what = format!("is never reached: crossfade answers below `{prefix}` itself");
            desk.warning(
                *place,
                &key,
                what,
                "choose another path, or another `server.prefix`",
            );
        }
    }
    routes
        .into_iter()
        .map(|placed| Arc::new(placed.route))
        .collect()
}

/// The path alone names a route only where no other has the same.
fn tell_apart(routes: &mut [Placed]) {
    let mut paths = BTreeMap::<String, usize>::new();
    for placed in routes.iter() {
        *paths.entry(placed.route.path.clone()).or_default() += 1;
    }
    for Placed {
        route, is_named, ..
    } in routes
    {
        let is_shared = paths.get(&route.path).is_some_and(|count| *count > 1);
        if *is_named || !is_shared {
            continue;
        }
        let methods: Vec<_> = route.methods.iter().map(|method| method.as_str()).collect();
        let host = route.host.as_deref().unwrap_or_default();
        let name = format!("{} {host}{}", methods.join(","), route.path);
        route.name = name.trim_start().into();
    }
}

/// The same host, path shape and method twice.
fn refuse_twins(desk: &Desk<'_>, routes: &[Placed]) {
    let mut taken = BTreeMap::new();
    for Placed { route, place, .. } in routes {
        let any = [String::new()];
        let listed: Vec<_> = route.methods.iter().map(ToString::to_string).collect();
        let methods = if listed.is_empty() { &any[..] } else { &listed };
        let shape = template::shape(&route.path);
        for method in methods {
            let first = *taken
                .entry((route.host.clone(), shape.clone(), method.clone()))
                .or_insert((route.index, *place));
            if first.0 != route.index {
                let line = desk.position(first.1).0;
                let what = format!(
                    "matches what route.{} (line {line}) matches already",
                    first.0
                );
                let key = format!("route.{}.path", route.index);
                desk.error(
                    *place,
                    &key,
                    what,
                    "give them different hosts, paths or methods",
                );
                break;
            }
        }
    }
}

/// Names label metrics and mark topics: they are unique.
fn refuse_namesakes(desk: &Desk<'_>, routes: &[Placed]) {
    let mut taken = BTreeMap::new();
    for Placed { route, place, .. } in routes.iter().filter(|placed| placed.is_named) {
        if let Some(first) = taken.insert(&route.name, route.index) {
            let what = format!("is the name of route.{first} already");
            let key = format!("route.{}.name", route.index);
            desk.error(*place, &key, what, "give each its own");
        }
    }
}
