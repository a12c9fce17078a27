//! What routes say against each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::Method;

use super::names::Names;
use super::parser::diagnostics::Diagnostics;
use super::parser::table::Table;
use super::parser::tree::{Node, NodeForm};
use super::parser::{path_template, units};
use super::route::{self, Route};

/// A route and where its header stands. What it says against others is judged though something else about it is wrong.
pub(super) struct Placed {
    /// `None` where something about it is wrong.
    route: Option<Route>,
    index: usize,
    place: usize,
    path: Option<String>,
    /// Host, shape of the path, and methods; `None` where one of them is wrong.
    matches: Option<(Option<String>, String, Vec<Method>)>,
    /// Where the file names it.
    name: Option<String>,
}

impl Placed {
    /// One route of the file.
    pub(crate) fn read(table: &Table<'_>, index: usize, names: &Names<'_>) -> Self {
        let text = |key: &str| Some(table.peek(key)?.node.text());
        let path = text("path")
            .flatten()
            .and_then(|path| path_template::template(path).ok());
        let host = match text("host") {
            None => Some(None),
            Some(host) => host.and_then(|host| route::host(host).ok()).map(Some),
        };
        let methods = match table.peek("methods").map(|entry| &entry.node.form) {
            None => Some(Vec::new()),
            Some(NodeForm::List(items)) => {
                let method = |item: &Node| units::method(item.text()?).ok();
                items.iter().map(method).collect()
            }
            Some(_) => None,
        };
        let shape = path.as_deref().map(path_template::shape);
        Placed {
            route: route::read(table, index, names),
            index,
            place: table.place_of("path"),
            matches: host
                .zip(shape)
                .zip(methods)
                .map(|((host, shape), methods)| (host, shape, methods)),
            path,
            name: text("name").flatten().map(str::to_owned),
        }
    }
}

/// Tells default names apart, and reports routes that would hide each other.
pub(super) fn settle(
    desk: &Diagnostics<'_>,
    prefix: &str,
    mut routes: Vec<Placed>,
) -> Vec<Arc<Route>> {
    tell_apart(&mut routes);
    refuse_twins(desk, &routes);
    refuse_namesakes(desk, &routes);
    warn_of_the_rest(desk, &routes);
    for placed in &routes {
        let behind = placed
            .path
            .as_deref()
            .and_then(|path| path.strip_prefix(prefix));
        if behind.is_some_and(|rest| rest.starts_with('/')) {
            let key = format!("route.{}.path", placed.index);
            let what = format!("is never reached: crossfade answers below `{prefix}` itself");
            desk.warning(
                placed.place,
                &key,
                what,
                "choose another path, or another `server.prefix`",
            );
        }
    }
    let finished = routes.into_iter().filter_map(|placed| placed.route);
    finished.map(Arc::new).collect()
}

/// An application has more paths than an operator thinks of: what no route takes is 404.
fn warn_of_the_rest(desk: &Diagnostics<'_>, routes: &[Placed]) {
    let takes_all = |placed: &Placed| {
        let path = placed.path.as_deref();
        path.is_none_or(|path| path.starts_with("/{*"))
    };
    let Some(last) = routes.last().filter(|_| desk.is_whole()) else {
        return;
    };
    if !routes.iter().any(takes_all) {
        let what = "no route takes all other paths: crossfade answers them by 404";
        let fix = "write one more `[[route]]` with `path = \"/{*path}\"`, or leave it so";
        desk.warning(last.place, "route", what, fix);
    }
}

/// The path alone names a route only where no other has the same.
fn tell_apart(routes: &mut [Placed]) {
    let mut paths = BTreeMap::<String, usize>::new();
    for path in routes.iter().filter_map(|placed| placed.path.as_ref()) {
        *paths.entry(path.clone()).or_default() += 1;
    }
    let unnamed = routes.iter_mut().filter(|placed| placed.name.is_none());
    for route in unnamed.filter_map(|placed| placed.route.as_mut()) {
        if paths.get(&route.path).is_none_or(|count| *count < 2) {
            continue;
        }
        let methods: Vec<_> = route.methods.iter().map(|method| method.as_str()).collect();
        let host = route.host.as_deref().unwrap_or_default();
        let name = format!("{} {host}{}", methods.join(","), route.path);
        route.name = name.trim_start().into();
    }
}

/// The same host, path shape and method twice.
fn refuse_twins(desk: &Diagnostics<'_>, routes: &[Placed]) {
    let mut taken = BTreeMap::new();
    for placed in routes {
        let Some((host, shape, methods)) = &placed.matches else {
            continue;
        };
        let listed = methods.iter().map(Some);
        let any = methods.is_empty().then_some(None);
        for method in listed.chain(any) {
            let first = *taken
                .entry((host, shape, method))
                .or_insert((placed.index, placed.place));
            if first.0 != placed.index {
                let line = desk.position(first.1).0;
                let what = format!(
                    "matches what route.{} (line {line}) matches already",
                    first.0
                );
                let key = format!("route.{}.path", placed.index);
                desk.error(
                    placed.place,
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
fn refuse_namesakes(desk: &Diagnostics<'_>, routes: &[Placed]) {
    let mut taken = BTreeMap::new();
    for placed in routes {
        let Some(name) = &placed.name else {
            continue;
        };
        if let Some(first) = taken.insert(name, placed.index) {
            let what = format!("is the name of route.{first} already");
            let key = format!("route.{}.name", placed.index);
            desk.error(placed.place, &key, what, "give each its own");
        }
    }
}
