use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::parser::scalar;
use super::parser::table::Table;
use super::parser::tree::NodeForm;
use super::parser::units;

/// `wrap` of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrap {
    /// Every event's data is this member of an object.
    All(Arc<str>),
    /// The data of these events, each a member of its own.
    Named(BTreeMap<String, Arc<str>>),
}

impl Wrap {
    /// The member for the data of an event.
    pub(crate) fn member(&self, event: &str) -> Option<&str> {
        match self {
            Wrap::All(member) => Some(member),
            Wrap::Named(members) => members.get(event).map(|member| &**member),
        }
    }
}

/// A member's name, or one for each event.
pub(super) fn read(route: &Table<'_>) -> Option<Wrap> {
    let node = route.node("wrap");
    route.note("wrap", node, json!(null));
    let node = node?;
    let NodeForm::Table(entries) = &node.form else {
        let member = scalar::text(route.desk, node, units::something)?;
        return Some(Wrap::All(member.into()));
    };
    let members = entries.iter().filter_map(|(event, entry)| {
        let member = scalar::text(route.desk, &entry.node, units::something)?;
        Some((event.clone(), member.into()))
    });
    Some(Wrap::Named(members.collect()))
}
