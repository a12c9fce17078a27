//! A text with placeholders, filled for a place in a URL.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::BindingScope;
use crate::error::{Code, Refusal};

/// What stands in a segment or in a query's value as it is (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Bytes of one value in a URL.
const LONGEST: usize = 1024;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Template {
    text: String,
    parts: Vec<TemplatePart>,
}

/// What a template is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TemplatePart {
    /// As it stands.
    Text(String),
    /// What is between braces.
    Placeholder(String),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, behind) = behind
                .split_once('}')
                .ok_or_else(|| "opens a `{` that nothing closes".to_owned())?;
            expect_name(name)?;
            expect_no_brace(before)?;
            if !before.is_empty() {
                parts.push(TemplatePart::Text(before.to_owned()));
            }
            parts.push(TemplatePart::Placeholder(name.to_owned()));
            rest = behind;
        }
        expect_no_brace(rest)?;
        if !rest.is_empty() {
            parts.push(TemplatePart::Text(rest.to_owned()));
        }
        Ok(Template {
            text: text.to_owned(),
            parts,
        })
    }

    /// The client's argument of this number.
    pub(super) fn argument(index: usize) -> Template {
        Template {
            text: format!("{{{index}}}"),
            parts: vec![TemplatePart::Placeholder(index.to_string())],
        }
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The names between its braces.
    pub(crate) fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Text(_) => None,
            TemplatePart::Placeholder(name) => Some(&**name),
        })
    }

    /// Path and query, each value percent-encoded.
    ///
    /// # Errors
    /// A value is missing, empty, `.`, `..`, too long, or neither text nor number.
    pub(crate) fn path(&self, scope: &BindingScope<'_>) -> Result<String, Refusal> {
        let mut path = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            match part {
                TemplatePart::Text(text) => path.push_str(text),
                TemplatePart::Placeholder(name) => {
                    let value = scope.value(name);
                    let plain = value.as_ref().and_then(plain).ok_or_else(|| {
                        let detail = format!("`{name}` has to be a text or a number");
                        Refusal::new(Code::BadFrame, detail)
                    })?;
                    path.extend(utf8_percent_encode(&plain, ENCODED));
                }
            }
        }
        Ok(path)
    }

    pub(super) fn parts(&self) -> &[TemplatePart] {
        &self.parts
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

fn expect_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    match !name.is_empty() && name.chars().all(is_plain) {
        true => Ok(()),
        false => Err(format!(
            "has the placeholder `{{{name}}}`, which names nothing"
        )),
    }
}

fn expect_no_brace(text: &str) -> Result<(), String> {
    match text.contains('}') {
        true => Err("has a `}` that nothing opens".into()),
        false => Ok(()),
    }
}

/// A text or a number that may stand for a segment. A control character has no place in a path.
fn plain(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let is_plain = !text.is_empty()
        && text.len() <= LONGEST
        && text != "."
        && text != ".."
        && !text.contains(char::is_control);
    is_plain.then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn path(template: &str, args: &[Value]) -> Result<String, Refusal> {
        let scope = BindingScope {
            args,
            ..BindingScope::default()
        };
        Template::parse(template).unwrap().path(&scope)
    }

    #[test]
    fn placeholders_are_filled_by_name_and_by_number() {
        let by_name = path("/api/tasks/{task_id}", &[json!({"task_id": 7})]);
        assert_eq!(by_name.unwrap(), "/api/tasks/7");
        let by_number = path("/t/{0}?q={1}", &[json!("a b"), json!("&x=1")]);
        assert_eq!(by_number.unwrap(), "/t/a%20b?q=%26x%3D1");
    }

    #[test]
    fn value_that_may_not_stand_in_a_path_is_refused() {
        for value in [
            json!(null),
            json!(""),
            json!("."),
            json!(".."),
            json!([1]),
            json!({"a": 1}),
            json!(true),
            json!("a\u{0}b"),
            json!("a\nb"),
            json!("x".repeat(2000)),
        ] {
            let refused = path("/t/{0}", std::slice::from_ref(&value)).unwrap_err();
            assert_eq!(refused.code, Code::BadFrame, "{value}");
        }
        assert!(path("/t/{missing}", &[json!({})]).is_err());
    }

    #[test]
    fn values_that_a_client_may_choose_win_over_no_claim() {
        let claims = json!({"tenant": {"id": "t1"}});
        let scope = BindingScope {
            args: &[json!({"id": "theirs", "user": "mallory"})],
            params: &[
                ("id".to_owned(), "ours".to_owned()),
                ("user".to_owned(), "mallory".to_owned()),
                ("claims.tenant.id".to_owned(), "t2".to_owned()),
            ],
            user: Some("alice"),
            claims: claims.as_object(),
            ..BindingScope::default()
        };
        let template = Template::parse("/{id}/{user}/{claims.tenant.id}").unwrap();
        assert_eq!(template.path(&scope).unwrap(), "/ours/alice/t1");
    }

    #[test]
    fn braces_that_do_not_match_are_reported() {
        for text in ["/a/{b", "/a/b}", "/a/{}", "/{a b}", "/{a}}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn hostile_value_never_leaves_its_segment(value: String) {
            if let Ok(path) = path("/api/x/{0}/end", &[json!(value)]) {
                let segments: Vec<&str> = path.split('/').collect();
                prop_assert_eq!(segments.len(), 5);
                prop_assert!(path.starts_with("/api/x/") && path.ends_with("/end"));
                prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(!path.contains(['?', '#', '\\']) && !segments.contains(&".."));
            }
        }
    }
}
