//! A path template taken apart: which paths it fits, and how specific it is.

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

/// One part of a template between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Exactly this.
    Static(String),
    /// `{name}`: one non-empty segment.
    Segment,
    /// `{*rest}`: everything that is left, or nothing.
    Rest,
}

/// A template without its parameter names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape(Vec<Part>);

impl Shape {
    /// The shape of a valid template and the names of its parameters, in order.
    pub(super) fn parse(template: &str) -> (Shape, Vec<String>) {
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
    pub(super) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The parameters' values as they stand in this canonical path; `None` where it does not fit.
    pub(super) fn values<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
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
