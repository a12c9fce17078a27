//! The elements of `Forwarded` (RFC 7239). Pure.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderValue};

use super::super::host::Host;

/// What one proxy says of the request that came to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// The address that it came from; `None` where that is hidden.
    pub(crate) ip: Option<IpAddr>,
    /// The host that it asked for.
    pub(crate) host: Option<Host>,
    /// `http` or `https`.
    pub(crate) proto: Option<&'static str>,
}

impl Element {
    /// Whether it says nothing else of what was asked for.
    pub(crate) fn agrees(&self, host: &Host, proto: &str) -> bool {
        self.host
            .as_ref()
            .is_none_or(|told| told.value == host.value)
            && self.proto.is_none_or(|told| told == proto)
    }
}

/// All of them; none where one breaks the grammar: what the others say is then not known either.
pub(crate) fn read(headers: &HeaderMap) -> Vec<Element> {
    let lines = headers.get_all(FORWARDED).iter();
    let elements: Option<Vec<Vec<Element>>> = lines.map(line).collect();
    elements.unwrap_or_default().concat()
}

fn line(value: &HeaderValue) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    let mut element = Element::default();
    let mut rest = value.to_str().ok()?.trim_ascii();
    loop {
        rest = rest.trim_ascii_start();
        if !rest.starts_with([';', ',']) && !rest.is_empty() {
            rest = pair(rest, &mut element)?.trim_ascii_start();
        }
        match rest.as_bytes().first() {
            None => break,
            Some(b';') => {}
            Some(b',') => elements.push(std::mem::take(&mut element)),
            Some(_) => return None,
        }
        rest = rest.get(1..)?;
    }
    elements.push(element);
    Some(elements)
}

/// Reads `name=value`; what is behind it.
fn pair<'t>(text: &'t str, element: &mut Element) -> Option<&'t str> {
    let (name, rest) = text.split_once('=')?;
    let (value, rest) = match rest.strip_prefix('"') {
        Some(rest) => quoted(rest)?,
        None => {
            let (value, rest) = rest.split_at(rest.find([';', ',']).unwrap_or(rest.len()));
            (value.trim_ascii_end().to_owned(), rest)
        }
    };
    match name.to_ascii_lowercase().as_str() {
        "for" => element.ip = super::address(&value),
        "host" => element.host = Some(Host::parse(&HeaderValue::from_str(&value).ok()?)?),
        "proto" => {
            let is_tls = value.eq_ignore_ascii_case("https");
            element.proto = Some(if is_tls { "https" } else { "http" });
        }
        name if is_word(name) => {}
        _ => return None,
    }
    Some(rest)
}

fn is_word(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part)
}

/// The text up to the closing quote, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            character => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&'static str]) -> Vec<(Option<String>, Option<String>, Option<&'static str>)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_static(line));
        }
        let elements = read(&headers).into_iter();
        let told = elements.map(|element| {
            let host = element
                .host
                .map(|host| host.value.to_str().unwrap().to_owned());
            (element.ip.map(|ip| ip.to_string()), host, element.proto)
        });
        told.collect()
    }

    #[test]
    fn elements_are_told_apart_over_lines_and_quotes() {
        let ip = |text: &str| Some(text.to_owned());
        assert_eq!(
            told(&[
                "For=\"[2001:db8::1]:443\";Proto=HTTPS ; host=\"a:8443\", for=192.0.2.1",
                "for=_hidden;by=\"x,;\\\"y\";proto=http,for=unknown",
            ]),
            [
                (ip("2001:db8::1"), Some("a:8443".to_owned()), Some("https")),
                (ip("192.0.2.1"), None, None),
                (None, None, Some("http")),
                (None, None, None),
            ]
        );
        assert!(told(&[]).is_empty());
    }

    #[test]
    fn what_breaks_the_grammar_says_nothing() {
        for line in [
            "for",
            "for=\"192.0.2.1",
            "for=\"a\\",
            "for=\"192.0.2.1\"x",
            "host=\"a b\"",
            "host=a/b",
            "f or=192.0.2.1",
            "=x",
        ] {
            assert!(told(&["for=192.0.2.1", line]).is_empty(), "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_not(text in "[ -~]{0,40}") {
            let mut headers = HeaderMap::new();
            headers.insert(FORWARDED, HeaderValue::from_str(&text).unwrap());
            read(&headers);
        }
    }
}
