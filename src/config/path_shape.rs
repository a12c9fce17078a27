//! A path template taken apart: which paths it fits, and how specific it is. Pure.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What a template written with plain characters needs to be compared with canonical paths.
const UNWRITTEN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'^')
    .add(b'|');

/// One part of a template between slashes; of two that fit the same text the lesser one is more specific.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Exactly this.
    Static(String),
    /// `{name}`: one non-empty segment.
    Segment,
    /// `{*rest}`: everything that is left, or nothing.
    Rest,
}

/// A template without its parameter names; of two that fit the same path the lesser one is more specific.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape(Vec<Part>);

impl Shape {
    /// The shape of a valid template and the names of its parameters, in order.
    pub(crate) fn parse(template: &str) -> (Shape, Vec<String>) {
        let mut names = Vec::new();
        let path = template.strip_prefix('/').unwrap_or(template);
        let parts = path.split('/').map(|part| {
            let inner = part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'));
            match inner {
                None => Part::Static(utf8_percent_encode(part, UNWRITTEN).to_string()),
                Some(name) => {
                    let rest = name.strip_prefix('*');
                    names.push(rest.unwrap_or(name).to_owned());
                    rest.map_or(Part::Segment, |_| Part::Rest)
                }
            }
        });
        let parts = parts.collect();
        (Shape(parts), names)
    }

    /// From left to right.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The parameters' values as they stand in this canonical path; `None` where it does not fit.
    pub(crate) fn values<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
        let mut values = Vec::new();
        let mut left = path.strip_prefix('/');
        for part in &self.0 {
            let path = left?;
            let (segment, rest) = match path.split_once('/') {
                Some((segment, rest)) => (segment, Some(rest)),
                None => (path, None),
            };
            match part {
                Part::Rest => {
                    values.push(path);
                    return Some(values);
                }
                Part::Segment if segment.is_empty() => return None,
                Part::Segment => values.push(segment),
                Part::Static(text) if text != segment => return None,
                Part::Static(_) => {}
            }
            left = rest;
        }
        left.is_none().then_some(values)
    }
}
