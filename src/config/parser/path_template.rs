//! Path templates: `{name}` is one non-empty segment, `{*rest}` the zero or more characters that end a path. Pure.

use super::problem::Wrong;

/// A valid template, as it was written.
pub(crate) fn template(text: &str) -> Result<String, Wrong> {
    let path = path(text)?;
    let mut names = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let Some(name) = parameter(segment)? else {
            continue;
        };
        if segment.starts_with("{*") && segments.peek().is_some() {
            let fix = "end the path with it, or write `{name}` for one segment";
            return Err(Wrong::new(format!("goes on after `{segment}`"), fix));
        }
        if names.contains(&name) {
            let what = format!("has the parameter `{name}` twice");
            return Err(Wrong::new(what, "give each its own name"));
        }
        names.push(name);
    }
    Ok(path)
}

/// A path in the form in which requests are compared with it.
pub(crate) fn path(text: &str) -> Result<String, Wrong> {
    if !text.starts_with('/') {
        let fix = match text
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'))
        {
            Some((_, path)) => format!("write the path alone: \"/{path}\""),
            None => format!("begin it with a slash: \"/{text}\""),
        };
        return Err(Wrong::new("is no path", fix));
    }
    if let Some(odd) = text
        .chars()
        .find(|c| !c.is_ascii_graphic() || "?#\\\"<>^`|".contains(*c))
    {
        return Err(Wrong::new(
            format!("has {} in it", super::units::quote(&odd.to_string())),
            match odd {
                '?' => "leave the query out: it is never compared",
                '<' | '>' => "write a parameter as `{name}`",
                _ => "write it percent-encoded",
            },
        ));
    }
    if text
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        let what = "has a `.` or `..` segment, which no request keeps";
        return Err(Wrong::new(what, "write the path that is meant"));
    }
    for encoded in text.split('%').skip(1) {
        let hex = encoded
            .get(..2)
            .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = hex
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .map(char::from);
        match byte {
            None => {
                return Err(Wrong::new(
                    "has a `%` without two hex digits",
                    "write it as `%25`",
                ));
            }
            Some(c) if c.is_ascii_alphanumeric() || "-._~".contains(c) => {
                let what = format!("has `{c}` percent-encoded, which no request keeps");
                return Err(Wrong::new(what, format!("write it plainly: `{c}`")));
            }
            Some(_) => {}
        }
    }
    Ok(text.to_owned())
}

/// The template without the names of its parameters: two of the same shape match the same paths.
pub(crate) fn shape(template: &str) -> String {
    let bare = |segment: &str| match segment {
        _ if segment.starts_with("{*") => "{*}".to_owned(),
        _ if segment.starts_with('{') => "{}".to_owned(),
        _ => segment.to_owned(),
    };
    template.split('/').map(bare).collect::<Vec<_>>().join("/")
}

fn parameter(segment: &str) -> Result<Option<&str>, Wrong> {
    if segment == "*" || segment.starts_with(':') {
        let name = segment.trim_start_matches([':', '*']);
        let meant = match segment {
            "*" => "{*rest}".to_owned(),
            _ => format!("{{{name}}}"),
        };
        let fix = format!("write it as `{meant}`");
        return Err(Wrong::new(format!("has the segment `{segment}`"), fix));
    }
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    let inside = segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let name = inside.map(|inside| inside.strip_prefix('*').unwrap_or(inside));
    let plain = |name: &&str| {
        let mut bytes = name.bytes();
        let first = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    name.filter(plain).map(Some).ok_or_else(|| {
        Wrong::new(
            format!("has the segment `{segment}`, which is no parameter"),
            "a parameter is a whole segment: `{name}`, or `{*rest}` at the end",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_paths_with_parameters() {
        for good in [
            "/",
            "/{*path}",
            "/api/{id}",
            "/a/{id}/b/{other_2}/{*rest}",
            "//a",
            "/a/",
            "/x:cancel",
            "/caf%C3%A9",
            "/a;b=c,d@e!$&'()*+=~-._",
        ] {
            assert_eq!(template(good).as_deref(), Ok(good));
        }
        for broken in [
            "",
            "a",
            "/a?b",
            "/a#b",
            "/a b",
            "/é",
            "/{a",
            "/a}",
            "/{}",
            "/{*}",
            "/x{a}",
            "/{a}.json",
            "/{*a}/b",
            "/{a}/{a}",
            "/:id",
            "/*",
            "/<id>",
            "/a/../b",
            "/a/.",
            "/%41",
            "/%zz",
            "/%4",
            "/{1}",
            "/a\\b",
            "/\n",
        ] {
            assert!(template(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn slips_of_other_dialects_come_with_the_fix() {
        for (slip, fix) in [
            ("/a/:id", "`{id}`"),
            ("/a/*", "`{*rest}`"),
            ("/a/<id>", "`{name}`"),
            ("a/b", "\"/a/b\""),
            ("http://app/x", "\"/x\""),
        ] {
            let wrong = template(slip).expect_err(slip);
            assert!(wrong.fix.contains(fix), "{slip}: {wrong:?}");
        }
    }

    #[test]
    fn a_shape_forgets_names() {
        assert_eq!(shape("/a/{x}/{*y}"), shape("/a/{b}/{*c}"));
        assert_ne!(shape("/a/{x}"), shape("/a/{*x}"));
        assert_ne!(shape("/a/{x}"), shape("/a/x"));
    }
}
