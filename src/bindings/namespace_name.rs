//! The name of a namespace, with parameters: `/pipeline/{id}`.

use std::sync::Arc;

/// Bytes of a name that a client sends.
const LONGEST: usize = 256;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceName(Arc<str>);

/// What stands between two slashes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NameSegment<'a> {
    /// This.
    Text(&'a str),
    /// What a client says.
    Parameter,
}

impl NamespaceName {
    /// Reads a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<NamespaceName, String> {
        if !text.starts_with('/') {
            return Err("does not begin with a slash".into());
        }
        for segment in text.split('/') {
            let is_parameter = parameter(segment).is_some();
            if let Some(name) = parameter(segment)
                && !is_own_name(name)
            {
                return Err(format!(
                    "has the parameter `{name}`, which means something else"
                ));
            }
            if !is_parameter && segment.contains(['{', '}', ',', '?']) {
                return Err(format!(
                    "has `{segment}` in it, which is neither text nor `{{name}}`"
                ));
            }
        }
        Ok(NamespaceName(text.into()))
    }

    /// The namespace that every client has.
    pub(crate) fn root() -> NamespaceName {
        NamespaceName("/".into())
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of its parameters.
    pub(crate) fn params(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter_map(parameter)
    }

    /// The same for all names that match the same, whatever their parameters are called; of two that match one name, the lesser is
    /// the closer: it has text where the other has a parameter.
    pub(crate) fn shape(&self) -> Vec<NameSegment<'_>> {
        let segments = self.0.split('/');
        let shaped = segments.map(|segment| match parameter(segment) {
            Some(_) => NameSegment::Parameter,
            None => NameSegment::Text(segment),
        });
        shaped.collect()
    }

    /// What its parameters are in a name that a client sends; `None` where that is another one.
    pub(crate) fn matches(&self, name: &str) -> Option<Vec<(String, String)>> {
        if name.len() > LONGEST {
            return None;
        }
        let (mut wanted, mut given) = (self.0.split('/'), name.split('/'));
        let mut params = Vec::new();
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return Some(params),
                (Some(wanted), Some(given)) => match parameter(wanted) {
                    Some(name) if !given.is_empty() => {
                        params.push((name.to_owned(), given.to_owned()));
                    }
                    None if wanted == given => {}
                    _ => return None,
                },
                _ => return None,
            }
        }
    }
}

/// What a client's name gives may not stand for the user, a claim or an argument's number.
fn is_own_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let is_number = name.parse::<usize>().is_ok();
    name.chars().all(is_plain) && !is_number && !["user", "tenant", "claims"].contains(&name)
}

fn parameter(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    (!name.is_empty() && !name.contains(['{', '}'])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_a_parameter_matches_one_segment() {
        let name = NamespaceName::parse("/pipeline/{id}").unwrap();
        let params = name.matches("/pipeline/7").unwrap();
        assert_eq!(params, [("id".to_owned(), "7".to_owned())]);
        for other in ["/pipeline/", "/pipeline", "/pipeline/7/8", "/", ""] {
            assert_eq!(name.matches(other), None, "{other}");
        }
    }

    #[test]
    fn text_is_closer_than_a_parameter() {
        let parse = |text| NamespaceName::parse(text).unwrap();
        let (all, one) = (parse("/pipeline/all"), parse("/pipeline/{id}"));
        assert!(all.shape() < one.shape());
        assert_eq!(one.shape(), parse("/pipeline/{name}").shape());
        assert!(parse("/a/{x}").shape() < parse("/{x}/a").shape());
    }

    #[test]
    fn plain_name_matches_itself_alone() {
        let root = NamespaceName::parse("/").unwrap();
        assert_eq!(root.matches("/"), Some(Vec::new()));
        assert_eq!(root.matches("/admin"), None);
        assert!(NamespaceName::parse("admin").is_err());
        assert!(NamespaceName::parse("/a{b").is_err());
    }

    #[test]
    fn parameter_that_names_the_user_is_refused() {
        for name in ["/{user}", "/{tenant}", "/{claims}", "/{claims.id}", "/{0}"] {
            assert!(NamespaceName::parse(name).is_err(), "{name}");
        }
    }
}
