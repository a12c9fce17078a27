//! The route table's tree: one level per segment, searched in the order of specificity.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{Part, Route};

/// A route with its own names for its shape's parameters.
pub(super) struct Named {
    pub(super) route: Arc<Route>,
    pub(super) names: Vec<String>,
}

impl Named {
    pub(super) fn new(route: Arc<Route>, names: Vec<String>) -> Self {
        Named { route, names }
    }
}

#[derive(Default)]
pub(super) struct RouteNode {
    statics: HashMap<String, RouteNode>,
    segment: Option<Box<RouteNode>>,
    /// Routes whose template ends here, the most specific first.
    ends: Vec<Named>,
    /// Routes whose catch-all begins here, likewise.
    rests: Vec<Named>,
}

impl RouteNode {
    pub(super) fn insert(&mut self, parts: &[Part], named: Named) {
        let leaf = match parts {
            [] => &mut self.ends,
            [Part::Rest, ..] => &mut self.rests,
            [Part::Segment, parts @ ..] => {
                return self.segment.get_or_insert_default().insert(parts, named);
            }
            [Part::Static(text), parts @ ..] => {
                let child = self.statics.entry(text.clone()).or_default();
                return child.insert(parts, named);
            }
        };
        let at = leaf.partition_point(|other| other.route.rank() <= named.route.rank());
        leaf.insert(at, named);
    }

    /// The first route that `fits`, the most specific shape first. `left` is what follows the
    /// slash, `None` at the path's end; `values` receives the parameters as they stand there.
    ///
    /// Visits each node at most once, whatever the path.
    pub(super) fn find<'p>(
        &self,
        left: Option<&'p str>,
        values: &mut Vec<&'p str>,
        fits: &impl Fn(&Route) -> bool,
    ) -> Option<&Named> {
        let Some(path) = left else {
            return self.ends.iter().find(|named| fits(&named.route));
        };
        let (segment, rest) = match path.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (path, None),
        };
        if let Some(node) = self.statics.get(segment)
            && let Some(found) = node.find(rest, values, fits)
        {
            return Some(found);
        }
        if let Some(node) = self.segment.as_deref().filter(|_| !segment.is_empty()) {
            values.push(segment);
            if let Some(found) = node.find(rest, values, fits) {
                return Some(found);
            }
            values.pop();
        }
        let found = self.rests.iter().find(|named| fits(&named.route))?;
        values.push(path);
        Some(found)
    }
}
