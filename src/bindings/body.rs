//! A value whose texts are templates: the body of a call, a greeting, the values of a filter.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::template::{Template, TemplatePart};
use super::{BindingScope, is_of_the_user};
use crate::json::Scalar;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BodyTemplate {
    /// A text; one placeholder alone keeps the type of its value.
    Text(Template),
    /// What is no text.
    Plain(Value),
    /// Each item.
    List(Vec<BodyTemplate>),
    /// Each member.
    Table(Vec<(String, BodyTemplate)>),
}

impl BodyTemplate {
    /// Reads what a file says.
    ///
    /// # Errors
    /// What is wrong with one of its texts.
    pub(crate) fn read(value: &Value) -> Result<BodyTemplate, String> {
        Ok(match value {
            Value::String(text) => BodyTemplate::Text(Template::parse(text)?),
            Value::Array(items) => {
                let items = items.iter().map(BodyTemplate::read);
                BodyTemplate::List(items.collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let members = members
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), BodyTemplate::read(value)?)));
                BodyTemplate::Table(members.collect::<Result<_, String>>()?)
            }
            plain => BodyTemplate::Plain(plain.clone()),
        })
    }

    /// The names between its braces.
    pub(crate) fn placeholders(&self) -> Vec<&str> {
        match self {
            BodyTemplate::Plain(_) => Vec::new(),
            BodyTemplate::Text(template) => template.placeholders().collect(),
            BodyTemplate::List(items) => {
                items.iter().flat_map(BodyTemplate::placeholders).collect()
            }
            BodyTemplate::Table(members) => {
                let members = members.iter();
                members
                    .flat_map(|(_, member)| member.placeholders())
                    .collect()
            }
        }
    }

    /// The client's first argument, as it is.
    pub(crate) fn first_argument() -> BodyTemplate {
        BodyTemplate::Text(Template::argument(0))
    }

    /// What it says here: what is missing is left out of a table, and is null elsewhere. Bytes are base64.
    pub(crate) fn value(&self, scope: &BindingScope<'_>) -> Value {
        self.find(scope).unwrap_or(Value::Null)
    }

    /// The bytes that it stands for, where it is one placeholder for bytes.
    pub(crate) fn bytes(&self, scope: &BindingScope<'_>) -> Option<Bytes> {
        let BodyTemplate::Text(template) = self else {
            return None;
        };
        let value = scope.value(only_placeholder(template)?)?;
        scope.bytes(&value).cloned()
    }

    /// The plain values that it stands for: each of a list. `None` where it is what is not known of the user, which must not be
    /// taken for any value.
    pub(crate) fn scalars(&self, scope: &BindingScope<'_>) -> Option<Vec<Scalar>> {
        if let BodyTemplate::Text(template) = self
            && only_placeholder(template).is_some_and(is_of_the_user)
        {
            self.find(scope)?;
        }
        let values = match self.find(scope) {
            Some(Value::Array(items)) => items,
            Some(Value::Null) | None => Vec::new(),
            Some(value) => vec![value],
        };
        let scalar = |value: &Value| Scalar::read(value.to_string().as_bytes());
        Some(values.iter().filter_map(scalar).collect())
    }

    /// The single values that a user's claim may be: of a list only what the file lists, so that no argument widens it.
    pub(crate) fn alternatives(&self, scope: &BindingScope<'_>) -> Vec<Value> {
        let items = match self {
            BodyTemplate::List(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let values = items.iter().filter_map(|item| item.find(scope));
        values
            .filter(|value| value.is_string() || value.is_number() || value.is_boolean())
            .collect()
    }

    fn find(&self, scope: &BindingScope<'_>) -> Option<Value> {
        match self {
            BodyTemplate::Plain(value) => Some(value.clone()),
            BodyTemplate::Text(template) => match only_placeholder(template) {
                Some(name) => scope.value(name).map(|value| as_json(value, scope)),
                None => Some(Value::String(text_of(template, scope))),
            },
            BodyTemplate::List(items) => Some(items.iter().map(|item| item.value(scope)).collect()),
            BodyTemplate::Table(members) => {
                let members = members.iter();
                let members =
                    members.filter_map(|(name, member)| Some((name.clone(), member.find(scope)?)));
                Some(Value::Object(members.collect::<Map<_, _>>()))
            }
        }
    }
}

/// An argument with its bytes as base64.
pub(super) fn as_json(value: Value, scope: &BindingScope<'_>) -> Value {
    if scope.attachments.is_empty() {
        return value;
    }
    if let Some(bytes) = scope.bytes(&value) {
        return Value::String(BASE64.encode(bytes));
    }
    match value {
        Value::Array(items) => items.into_iter().map(|item| as_json(item, scope)).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            let members = members.map(|(name, member)| (name, as_json(member, scope)));
            Value::Object(members.collect())
        }
        value => value,
    }
}

fn only_placeholder(template: &Template) -> Option<&str> {
    match template.parts() {
        [TemplatePart::Placeholder(name)] => Some(name),
        _ => None,
    }
}

fn text_of(template: &Template, scope: &BindingScope<'_>) -> String {
    let parts = template.parts().iter().map(|part| match part {
        TemplatePart::Text(text) => text.clone(),
        TemplatePart::Placeholder(name) => match scope.value(name) {
            Some(Value::String(text)) => text,
            Some(Value::Null) | None => String::new(),
            Some(value) => value.to_string(),
        },
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_placeholder_keeps_the_type_of_its_value() {
        let body = BodyTemplate::read(&json!({
            "camera": "{cameraId}",
            "label": "camera {cameraId} of {user}",
            "missing": "{nothing}",
            "list": ["{nothing}", 1, true],
        }));
        let scope = BindingScope {
            args: &[json!({"cameraId": 7})],
            user: Some("alice"),
            ..BindingScope::default()
        };
        assert_eq!(
            body.unwrap().value(&scope),
            json!({"camera": 7, "label": "camera 7 of alice", "list": [null, 1, true]})
        );
    }

    #[test]
    fn list_of_a_client_widens_no_claim() {
        let args = [json!(["A", "B"]), json!("A")];
        let scope = BindingScope {
            args: &args,
            ..BindingScope::default()
        };
        let read = |value| BodyTemplate::read(&value).unwrap();
        assert_eq!(read(json!("{0}")).alternatives(&scope), [""; 0]);
        assert_eq!(read(json!(["{0}", "C"])).alternatives(&scope), ["C"]);
        assert_eq!(read(json!("{1}")).alternatives(&scope), ["A"]);
    }

    #[test]
    fn filter_by_a_claim_that_is_missing_has_no_value() {
        let scope = BindingScope::default();
        let read = |value| BodyTemplate::read(&value).unwrap();
        assert_eq!(read(json!("{claims.tenantId}")).scalars(&scope), None);
        assert_eq!(read(json!("{severity}")).scalars(&scope), Some(Vec::new()));
    }

    #[test]
    fn bytes_are_base64_or_the_whole_body() {
        let args = [json!({"_placeholder": true, "num": 0})];
        let attachments = [Bytes::from_static(b"\x00\xff")];
        let scope = BindingScope {
            args: &args,
            attachments: &attachments,
            ..BindingScope::default()
        };
        let whole = BodyTemplate::read(&json!("{0}")).unwrap();
        assert_eq!(whole.bytes(&scope).unwrap(), attachments[0]);
        let member = BodyTemplate::read(&json!({"file": "{0}"})).unwrap();
        assert_eq!(member.value(&scope), json!({"file": "AP8="}));
        assert_eq!(member.bytes(&scope), None);
    }
}
