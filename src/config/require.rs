use serde_json::Value;

use super::parser::table::Table;
use super::parser::tree::{Node, NodeForm};
use super::parser::{scalar, units};

/// `require`: what a verified user needs besides; a user without it is answered with 403. It needs `auth`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Require {
    /// Any one of these roles; empty: no role is asked for.
    pub(crate) roles: Vec<String>,
    /// Each of these claims (a name, or a JSON Pointer) has to be this value, or one of a list; a claim that is a list itself has to hold one: `{tenantId = "t1", level = [3, 4]}`.
    pub(crate) claims: Vec<(String, Vec<Value>)>,
}

pub(super) fn read(route: &Table<'_>) -> Option<Require> {
    read_for(route, route.says("auth"))
}

/// As [`read`], for a place whose users are known, or are not.
pub(super) fn read_for(route: &Table<'_>, is_user_known: bool) -> Option<Require> {
    let require = route.optional_table("require", |table| {
        table.refuse_empty("roles", "\"admin\"");
        if !table.says("roles") && !table.says("claims") {
            let what = "asks for nothing: every known user is let in";
            let fix = "write `roles = [\"admin\"]` or `claims = {…}`, or remove it";
            table.desk.error(table.place, &table.key, what, fix);
        }
        Require {
            roles: table.texts("roles", units::something),
            claims: claims(table),
        }
    });
    if route.says("require") && !is_user_known {
        let what = "is in vain: no user is known without `auth`";
        route.error("require", what, "write `auth = \"NAME\"` beside it");
    }
    require
}

fn claims(table: &Table<'_>) -> Vec<(String, Vec<Value>)> {
    let node = table.node("claims");
    table.note("claims", node, serde_json::json!({}));
    let Some(node) = node else {
        return Vec::new();
    };
    let NodeForm::Table(entries) = &node.form else {
        scalar::refuse_kind(table.desk, node, "a table");
        return Vec::new();
    };
    let mut claims = Vec::new();
    for (name, entry) in entries {
        if let Err(wrong) = units::member(name) {
            let what = format!("{} {}", units::quote(name), wrong.what);
            let key = &entry.node.key;
            table.desk.error(entry.place, key, what, wrong.fix);
        }
        claims.push((name.clone(), values(table, &entry.node)));
    }
    claims
}

/// One value, or each of a list.
fn values(table: &Table<'_>, node: &Node) -> Vec<Value> {
    let items = match &node.form {
        NodeForm::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if items.is_empty() {
        let what = "is an empty list: every user is refused";
        let fix = "write the values that are let in";
        table.desk.error(node.span.start, &node.key, what, fix);
    }
    let one = |item: &Node| match item.form {
        NodeForm::Text(_) | NodeForm::Integer(_) | NodeForm::Number(_) | NodeForm::Switch(_) => {
            Some(item.json())
        }
        NodeForm::Failed => None,
        NodeForm::Date(_) | NodeForm::List(_) | NodeForm::Table(_) => {
            let what = format!("is compared with single values, not with {}", item.kind());
            let fix = "write a string, a number or a boolean, or a list of them";
            table.desk.error(item.span.start, &item.key, what, fix);
            None
        }
    };
    items.iter().filter_map(one).collect()
}
