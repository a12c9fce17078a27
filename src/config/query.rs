//! Parameters of a query, by their names.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// A parameter's name or value as `URLSearchParams` reads it.
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode(spaced.as_bytes()).decode_utf8_lossy();
    Cow::Owned(decoded.into_owned())
}

/// The name of `name=value`, decoded.
pub(crate) fn name(pair: &str) -> Cow<'_, str> {
    decode(pair.split_once('=').map_or(pair, |(name, _)| name))
}

/// A path and query without the parameters of these names, in whatever spelling; the others stay as they were.
pub(crate) fn without<'u>(url: &'u str, names: &[String]) -> Cow<'u, str> {
    let is_ignored = |pair: &str| {
        let name = name(pair);
        names.iter().any(|ignored| *ignored == name)
    };
    let Some((path, query)) = url.split_once('?') else {
        return Cow::Borrowed(url);
    };
    if names.is_empty() || !query.split('&').any(is_ignored) {
        return Cow::Borrowed(url);
    }
    let left: Vec<&str> = query.split('&').filter(|pair| !is_ignored(pair)).collect();
    match left.is_empty() {
        true => Cow::Borrowed(path),
        false => Cow::Owned(format!("{path}?{}", left.join("&"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_parameters_leave_in_every_spelling() {
        let names = ["_".to_owned(), "cache bust".to_owned()];
        for (url, left) in [
            ("/a?_=1", "/a"),
            ("/a?b=2&_=1&c&_=3&a=%41", "/a?b=2&c&a=%41"),
            ("/a?%5F=1&_&%5f=", "/a"),
            ("/a?cache+bust=1&cache%20bust&x=_", "/a?x=_"),
            ("/a?__=1&_x=2&=_&&x?_=3", "/a?__=1&_x=2&=_&&x?_=3"),
            ("/_=1", "/_=1"),
            ("/a?", "/a?"),
        ] {
            assert_eq!(without(url, &names), left, "{url}");
            assert_eq!(without(url, &[]), url);
        }
    }
}
