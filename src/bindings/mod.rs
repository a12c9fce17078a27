//! From an event of a Socket.IO client to a path, a body and a filter: templates whose placeholders are filled from the client's
//! arguments, its claims and its namespace. Pure. What a template reaches is what the file says: a value fills one segment, or one
//! value of a query, and nothing else.

mod body;
mod namespace_name;
mod template;

use bytes::Bytes;
use serde_json::{Map, Value};

pub(crate) use body::BodyTemplate;
pub(crate) use namespace_name::NamespaceName;
pub(crate) use template::Template;

/// Events that clients of Socket.IO keep for themselves: a packet with one closes their connection, and they send none.
pub(crate) const RESERVED_EVENTS: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// Where placeholders find their values.
#[derive(Clone, Copy, Default)]
pub(crate) struct BindingScope<'a> {
    /// The client's arguments. Bytes stand as `{"_placeholder":true,"num":n}` there.
    pub(crate) args: &'a [Value],
    /// The bytes that those stand for.
    pub(crate) attachments: &'a [Bytes],
    /// The namespace's parameters. They win over arguments of the same name, and over nothing else.
    pub(crate) params: &'a [(String, String)],
    /// The user's id.
    pub(crate) user: Option<&'a str>,
    /// The user's tenant.
    pub(crate) tenant: Option<&'a str>,
    /// The user's claims.
    pub(crate) claims: Option<&'a Map<String, Value>>,
}

/// Whether a placeholder says something of the user, and nothing that a client chooses.
pub(crate) fn is_of_the_user(placeholder: &str) -> bool {
    matches!(placeholder, "user" | "tenant") || placeholder.starts_with("claims.")
}

impl BindingScope<'_> {
    /// The value of a placeholder: `{0}`, `{field}`, `{claims.x}`, `{user}`, `{tenant}`.
    fn value(&self, name: &str) -> Option<Value> {
        if let Ok(index) = name.parse::<usize>() {
            return self.args.get(index).cloned();
        }
        match name {
            "user" => return self.user.map(Value::from),
            "tenant" => return self.tenant.map(Value::from),
            _ => {}
        }
        if let Some(path) = name.strip_prefix("claims.") {
            let claims = self.claims?;
            let mut parts = path.split('.');
            let first = claims.get(parts.next()?)?;
            return parts.try_fold(first, |at, part| at.get(part)).cloned();
        }
        if let Some((_, value)) = self.params.iter().find(|(known, _)| known == name) {
            return Some(Value::String(value.clone()));
        }
        self.args.first()?.get(name).cloned()
    }

    /// The bytes that an argument stands for, where it stands for bytes.
    fn bytes(&self, value: &Value) -> Option<&Bytes> {
        let is_placeholder = value.get("_placeholder")?.as_bool()?;
        let number = value.get("num")?.as_u64().filter(|_| is_placeholder)?;
        self.attachments.get(usize::try_from(number).ok()?)
    }
}
