//! What placeholders can be filled with, where they stand.

use crate::bindings::{NamespaceName, is_of_the_user};
use crate::config::parser::table::Table;

/// What a namespace has to fill placeholders with.
#[derive(Clone, Copy)]
pub(super) struct Filling<'a> {
    /// Its name, where that could be read.
    pub(super) name: Option<&'a NamespaceName>,
    /// Whether its users are known.
    pub(super) has_auth: bool,
}

impl Filling<'_> {
    /// Judges what is filled while a client connects: no event has brought arguments yet.
    pub(super) fn judge_at_connect<'p>(
        &self,
        table: &Table<'_>,
        key: &str,
        placeholders: impl Iterator<Item = &'p str>,
    ) {
        for placeholder in placeholders {
            if is_of_the_user(placeholder) {
                if !self.has_auth {
                    let what = format!(
                        "names `{{{placeholder}}}`, which needs a user, and the namespace has no `auth`"
                    );
                    return table.error(key, what, ADD_AUTH);
                }
                continue;
            }
            let is_param = |name: &NamespaceName| name.params().any(|param| param == placeholder);
            if !self.name.is_none_or(is_param) {
                let what = format!(
                    "names `{{{placeholder}}}`, and a client that connects has sent no arguments yet"
                );
                let fix =
                    "name a parameter of the namespace, `{claims.NAME}`, `{user}` or `{tenant}`";
                return table.error(key, what, fix);
            }
        }
    }

    /// Judges what is filled when an event comes.
    pub(super) fn judge_at_event<'p>(
        &self,
        table: &Table<'_>,
        (key, event): (&str, &str),
        mut placeholders: impl Iterator<Item = &'p str>,
    ) {
        let asked = placeholders.find(|placeholder| is_of_the_user(placeholder));
        if let Some(placeholder) = asked.filter(|_| !self.has_auth) {
            let what = format!(
                "the event `{event}` needs a user for `{{{placeholder}}}`, and the namespace has no `auth`"
            );
            table.error(key, what, ADD_AUTH);
        }
    }

    /// Judges that an event asks for a user.
    pub(super) fn judge_require(&self, table: &Table<'_>, event: &str) {
        if table.says("require") && !self.has_auth {
            let what = format!("the event `{event}` needs a user, and the namespace has no `auth`");
            table.error("require", what, ADD_AUTH);
        }
    }
}

const ADD_AUTH: &str = "write `auth = \"NAME\"` in the namespace or in `[socketio]`";
