//! The headers of a request to the backend, and those of its answer that the client gets.

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderMap,
    HeaderName, HeaderValue, ORIGIN, SET_COOKIE, TRANSFER_ENCODING,
};

use super::Caller;
use crate::config::Calls;
use crate::error::{Code, Refusal};
use crate::protocol::Req;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

pub(super) fn headers_of(
    caller: Caller<'_>,
    calls: &Calls,
    request: &Req,
) -> Result<HeaderMap, Refusal> {
    let Caller {
        client,
        presented,
        admission,
        ..
    } = caller;
    let bad = |detail| Refusal::new(Code::BadFrame, detail);
    let credentials = match admission {
        Some(admission) => presented.verified(admission, None),
        None => presented.unverified(),
    };
    // The backend may want to see for itself what a write has to bring.
    let csrf = admission.and_then(|admission| admission.found.auth.csrf.as_ref());
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let name: HeaderName = name.parse().map_err(|_| bad("a header name is none"))?;
        if !calls.headers.contains(&name) && csrf.is_none_or(|csrf| csrf.header != name) {
            continue;
        }
        let value = value.parse().map_err(|_| bad("a header value is none"))?;
        headers.append(name, value);
    }
    let of_the_edge = [
        (COOKIE, credentials.cookie),
        (AUTHORIZATION, credentials.authorization),
        (ORIGIN, client.origin.clone()),
        (HOST, Some(client.host.clone())),
        (ACCEPT_ENCODING, Some(HeaderValue::from_static("identity"))),
        (FORWARDED_FOR, HeaderValue::from_str(&client.remote).ok()),
        (FORWARDED_HOST, Some(client.host.clone())),
        (
            FORWARDED_PROTO,
            Some(HeaderValue::from_static(client.proto)),
        ),
    ];
    for (name, value) in of_the_edge {
        headers.remove(&name);
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    headers
        .entry(ACCEPT)
        .or_insert(HeaderValue::from_static("*/*"));
    if request.body.is_some() {
        let kind = match request.is_binary {
            true => "application/octet-stream",
            false => "application/json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if let Some(key) = &request.key {
        let key = key.parse().map_err(|_| bad("the key is no header value"))?;
        headers.insert(IDEMPOTENCY_KEY, key);
    }
    Ok(headers)
}

/// The headers of the answer that the client gets; several values of one field become a list.
pub(super) fn told(headers: &HeaderMap) -> Vec<(String, String)> {
    let names = headers
        .keys()
        .filter(|name| ![SET_COOKIE, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name));
    let fields = names.map(|name| {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
        let list = values.collect::<Vec<_>>().join(", ");
        (name.as_str().to_owned(), list)
    });
    fields.collect()
}
