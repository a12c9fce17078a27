//! Which route a request belongs to. Pure.
//!
//! One leaf per path shape in a tree of segments; host and method are resolved inside the leaf,
//! and a leaf without a fitting route falls through to the next best shape.

mod ambiguous_path;
mod readings;
mod tree;

use std::borrow::Cow;
use std::sync::Arc;

use hyper::Method;
use percent_encoding::percent_decode_str;

use crate::config::{Config, Route, Shape};
use crate::http::RequestViolation;
use crate::http::path::without_parameters;
use ambiguous_path::{AmbiguousPaths, Elsewhere};
use tree::{Named, RouteNode};

/// The configuration in force, replaced as a whole by a reload.
pub struct InForce {
    /// Counts accepted configurations, from 1.
    pub generation: u64,
    /// The finished values.
    pub(crate) config: Arc<Config>,
    /// Their routes.
    pub(crate) routes: RouteTable,
}

/// All routes, ready to be asked.
pub struct RouteTable {
    root: RouteNode,
    lookalikes: Option<AmbiguousPaths>,
    bridged: Vec<Arc<Route>>,
    writes: Vec<Write>,
}

/// Path parameters by name, percent-decoded; `{*rest}` without its leading slash.
pub(crate) type PathParameters = Vec<(String, String)>;

/// A route that fits a request.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    /// The route.
    pub(crate) route: Arc<Route>,
    /// What its path's placeholders stand for.
    pub(crate) params: PathParameters,
    /// Whether this request may be bridged (route has a source and the method is GET or HEAD): other methods of a bridged
    /// route pass through under its policies.
    pub(crate) bridged: bool,
    /// Routes that its backend may take it for, by another reading of the path: their policies hold as well.
    pub(crate) others: Vec<Arc<Route>>,
}

/// Another reading of a path, and the route there.
#[derive(Clone, Debug)]
pub(crate) struct PathReading {
    /// In canonical form; in lower case where only that leads there.
    pub(crate) path: String,
    /// Whether a request for that path gets this route; else only a backend that ignores case serves it there.
    pub(crate) leads_there: bool,
    /// Guarded otherwise than the route of the path as it is written.
    pub(crate) route: Arc<Route>,
}

/// A backend may read this path as one that other policies guard, and the route that was found does not take such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unclear {
    /// That reading; `None` where there are too many to look at.
    pub(crate) reading: Option<String>,
    /// Whether `encoded` of the route could take the path.
    pub(crate) may_be_taken: bool,
    /// Whether only a backend that ignores case reads it so: no spelling of it that could be advised is known.
    pub(crate) is_by_case: bool,
}

impl Unclear {
    /// One sentence for a person. It names nothing but what the path itself says.
    pub(crate) fn detail(&self) -> Cow<'static, str> {
        if self.is_by_case {
            let what = RequestViolation::Path.detail();
            return format!(
                "{what}: a backend that ignores case may take it for one that other policies guard; \
                 send it in the case that the application uses"
            )
            .into();
        }
        let reading = self.reading.as_deref().filter(|reading| is_short(reading));
        let Some(reading) = reading else {
            return RequestViolation::Path.detail().into();
        };
        let or = match self.may_be_taken {
            true => ", or list its encodings in `encoded` of the route",
            false => "",
        };
        let (what, reading) = (RequestViolation::Path.detail(), without_parameters(reading));
        format!(
            "{what}: a backend may take it for `{reading}`, which other policies guard; send the path that is meant{or}"
        )
        .into()
    }
}

/// One sentence about a path that is refused as it is written; where it has another reading, that is named.
pub(crate) fn path_detail(fault: RequestViolation, path: &str) -> Cow<'static, str> {
    let reading = (fault == RequestViolation::Path && is_short(path))
        .then(|| readings::other(path))
        .flatten();
    match reading {
        Some(reading) => format!(
            "{}: a backend may take it for `{}`; send the path that is meant",
            fault.detail(),
            without_parameters(&reading)
        )
        .into(),
        None => fault.detail().into(),
    }
}

/// Longer paths are not repeated in an answer, and their readings are not looked for only to name one.
fn is_short(path: &str) -> bool {
    const LONGEST: usize = 200;
    path.len() <= LONGEST
}

/// One `refresh_on` of one route.
struct Write {
    method: Method,
    shape: Shape,
    /// The parameter's name where the route has it too.
    names: Vec<Option<String>>,
    route: Arc<Route>,
}

impl RouteTable {
    /// Builds the table. The configuration has checked templates and conflicts already.
    pub fn new(routes: &[Arc<Route>]) -> Self {
        let mut root = RouteNode::default();
        for route in routes {
            let (shape, names) = Shape::parse(&route.path);
            root.insert(shape.parts(), Named::new(route.clone(), names));
        }
        RouteTable {
            root,
            lookalikes: AmbiguousPaths::new(routes),
            bridged: routes
                .iter()
                .filter(|route| route.source.is_some())
                .cloned()
                .collect(),
            writes: routes.iter().flat_map(writes).collect(),
        }
    }

    /// The most specific route: path shape first, then host, then a route that lists the method before one that lists none.
    ///
    /// `host` is the request's host without port, lower case; `path` is canonical, without query.
    pub(crate) fn find(&self, host: &str, method: &Method, path: &str) -> Option<Match> {
        let mut values = Vec::new();
        let fits = |route: &Route| route.takes(host, method);
        let named = self
            .root
            .find(Some(path.strip_prefix('/')?), &mut values, &fits)?;
        let names = named.names.iter().cloned();
        Some(Match {
            route: named.route.clone(),
            params: names.zip(values.into_iter().map(decode)).collect(),
            bridged: named.route.source.is_some() && matches!(*method, Method::GET | Method::HEAD),
            others: Vec::new(),
        })
    }

    /// The routes, guarded otherwise than the one that was `found`, for which a backend may take this canonical path.
    ///
    /// # Errors
    /// There are some, and the route that was found does not take the path's encodings; or readings without end.
    pub(crate) fn read_otherwise(
        &self,
        host: &str,
        method: &Method,
        path: &str,
        found: &Route,
    ) -> Result<Vec<Arc<Route>>, Unclear> {
        let elsewhere = self.elsewhere(host, method, path, found)?;
        let mut readings = elsewhere.readings.into_iter();
        match elsewhere.is_taken {
            true => Ok(readings.map(|reading| reading.route).collect()),
            false => match readings.next() {
                None => Ok(Vec::new()),
                Some(reading) => Err(Unclear {
                    is_by_case: !reading.leads_there,
                    reading: Some(reading.path),
                    may_be_taken: elsewhere.may_be_taken,
                }),
            },
        }
    }

    /// As [`RouteTable::read_otherwise`], with the paths that a backend may read, whether the route takes them or not.
    ///
    /// # Errors
    /// Readings without end.
    pub(crate) fn readings(
        &self,
        host: &str,
        method: &Method,
        path: &str,
        found: &Route,
    ) -> Result<Vec<PathReading>, Unclear> {
        Ok(self.elsewhere(host, method, path, found)?.readings)
    }

    fn elsewhere(
        &self,
        host: &str,
        method: &Method,
        path: &str,
        found: &Route,
    ) -> Result<Elsewhere, Unclear> {
        match &self.lookalikes {
            Some(lookalikes) => lookalikes.of(&self.root, host, method, path, found),
            None => Ok(Elsewhere::default()),
        }
    }

    /// Routes with a source, in file order.
    pub(crate) fn bridged(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.bridged.iter()
    }

    /// Bridged routes (with the parameters that must be equal) whose `refresh_on` names this write.
    ///
    /// `path` is canonical, without query.
    pub(crate) fn refreshed_by(
        &self,
        method: &Method,
        path: &str,
    ) -> Vec<(Arc<Route>, PathParameters)> {
        let matching = self.writes.iter().filter(|write| write.method == method);
        matching
            .filter_map(|write| {
                let values = write.shape.values(path)?;
                let shared = write.names.iter().zip(values).filter_map(|(name, value)| {
                    name.as_ref().map(|name| (name.clone(), decode(value)))
                });
                Some((write.route.clone(), shared.collect()))
            })
            .collect()
    }
}

fn writes(route: &Arc<Route>) -> Vec<Write> {
    let (_, own) = Shape::parse(&route.path);
    let writes = route.refresh_on.iter().map(|write| {
        let (shape, names) = Shape::parse(&write.path);
        let names = names
            .into_iter()
            .map(|name| own.contains(&name).then_some(name));
        Write {
            method: write.method.clone(),
            shape,
            names: names.collect(),
            route: route.clone(),
        }
    });
    writes.collect()
}

/// A parameter's value as the backend's own framework would show it.
fn decode(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
