//! What of a request decides where it goes, under a consistent hash.

use std::borrow::Cow;

use hyper::header::COOKIE;
use hyper::http::request::Parts;

use crate::config::HashKey;
use crate::upstream::Purpose;

/// A client's address, in a request's extensions, put there by the caller that knows it.
#[derive(Clone, Debug)]
pub(crate) struct ClientAddress(pub(crate) Box<str>);

/// The key's value; `None` where the request lacks it.
///
/// What a source sends belongs to no one client, so most of what tells clients apart is missing
/// there. Its path is as good: a stream that comes back with `Last-Event-ID` meets the server
/// that knows that id.
pub(crate) fn find<'h>(key: &HashKey, head: &'h Parts, purpose: Purpose) -> Option<Cow<'h, [u8]>> {
    let path = || head.uri.path().as_bytes();
    let found = match key {
        HashKey::Header(name) => head.headers.get(name).map(|value| value.as_bytes().into()),
        HashKey::Cookie(name) => cookie(head, name).map(Cow::Borrowed),
        HashKey::Path => Some(path().into()),
        HashKey::Ip => head
            .extensions
            .get::<ClientAddress>()
            .map(|client| client.0.as_bytes().into()),
    };
    let found = found.filter(|value| !value.is_empty());
    match purpose {
        Purpose::Poll | Purpose::Sse => found.or_else(|| Some(path().into())),
        Purpose::Passthrough | Purpose::Call | Purpose::Auth => found,
    }
}

fn cookie<'h>(head: &'h Parts, name: &str) -> Option<&'h [u8]> {
    let fields = head.headers.get_all(COOKIE).iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|b| *b == b';'));
    pairs.find_map(|pair| {
        let pair = pair.trim_ascii();
        let rest = pair.strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    })
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn key(key: &HashKey, purpose: Purpose) -> Option<String> {
        let request = Request::get("/a/b?c=d")
            .header("x-tenant", "acme")
            .header("x-empty", "")
            .header("cookie", "aid=1; id=2;other=3")
            .header("cookie", "late=4")
            .extension(ClientAddress("192.0.2.1".into()))
            .body(())
            .unwrap();
        let (head, ()) = request.into_parts();
        let found = find(key, &head, purpose)?;
        Some(String::from_utf8(found.into_owned()).unwrap())
    }

    #[test]
    fn what_the_key_names_is_found() {
        let header = |name: &'static str| HashKey::Header(name.parse().unwrap());
        let cookie = |name: &str| HashKey::Cookie(name.to_owned());
        for (wanted, value) in [
            (header("x-tenant"), Some("acme")),
            (header("x-other"), None),
            (header("x-empty"), None),
            (cookie("id"), Some("2")),
            (cookie("other"), Some("3")),
            (cookie("late"), Some("4")),
            (cookie("i"), None),
            (HashKey::Path, Some("/a/b")),
            (HashKey::Ip, Some("192.0.2.1")),
        ] {
            let found = key(&wanted, Purpose::Passthrough);
            assert_eq!(found.as_deref(), value, "{wanted:?}");
            let of_a_source = key(&wanted, Purpose::Sse);
            assert_eq!(of_a_source.as_deref(), value.or(Some("/a/b")), "{wanted:?}");
        }
    }
}
