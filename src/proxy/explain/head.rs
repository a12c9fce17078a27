//! The request that a question stands for.

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Uri};

use super::ExplainRequest;
use crate::http::forwarded::{self, ForwardedClient, Peer};
use crate::http::host::Host;
use crate::http::parser::{HeadLimits, Scanner};
use crate::http::{RequestViolation, path};
use crate::router::InForce;

/// The head as the server's own scan and engine would hand it on.
pub(super) fn head_of(
    question: &ExplainRequest,
    in_force: &InForce,
) -> Result<Parts, RequestViolation> {
    let method = question.method.clone().unwrap_or(Method::GET);
    let server = &in_force.config.server;
    let mut fields = question.headers.clone();
    let has = |fields: &[(String, String)], name: &str| fields.iter().any(|(n, _)| n == name);
    let add = |fields: &mut Vec<(String, String)>, name: HeaderName, value: &str| {
        if !has(fields, name.as_str()) {
            fields.push((name.as_str().to_owned(), value.to_owned()));
        }
    };
    let public: Option<Uri> = server.public_url.as_ref().and_then(|url| url.parse().ok());
    let public = public.as_ref().and_then(Uri::authority);
    add(
        &mut fields,
        HOST,
        public.map_or("localhost", |a| a.as_str()),
    );
    if let Some(origin) = &question.origin {
        fields.retain(|(name, _)| name != ORIGIN.as_str());
        fields.push((ORIGIN.to_string(), origin.clone()));
    }
    if question.websocket || fields.iter().any(|(name, _)| name == UPGRADE.as_str()) {
        add(&mut fields, UPGRADE, "websocket");
        add(&mut fields, CONNECTION, "Upgrade");
        add(&mut fields, SEC_WEBSOCKET_VERSION, "13");
        add(&mut fields, SEC_WEBSOCKET_KEY, "AAAAAAAAAAAAAAAAAAAAAA==");
    }
    let mut bytes = format!("{method} {} HTTP/1.1\r\n", question.path).into_bytes();
    for (name, value) in &fields {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    let limits = HeadLimits {
        bytes: server.limits.header_bytes,
        fields: server.limits.headers,
    };
    if let Some(fault) = Scanner::new(limits).feed(&bytes).fault {
        return Err(fault);
    }
    let target = path::escaped(question.path.as_bytes());
    let target = Uri::try_from(target).map_err(|_| RequestViolation::Target)?;
    let mut headers = HeaderMap::new();
    for (name, value) in &fields {
        let name = HeaderName::try_from(name).map_err(|_| RequestViolation::FieldName)?;
        let value = HeaderValue::try_from(value).map_err(|_| RequestViolation::FieldValue)?;
        headers.append(name, value);
    }
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut()) = (method, target);
    *request.headers_mut() = headers;
    Ok(request.into_parts().0)
}

/// The client as a request through the configured proxies would name it: where some are trusted, what the headers say of the
/// client is trusted.
pub(super) fn client_of(headers: &HeaderMap, in_force: &InForce, host: &Host) -> ForwardedClient {
    let trusted = &in_force.config.server.trusted_proxies;
    let loopback = Some(IpAddr::from([127, 0, 0, 1]));
    let mut peer = Peer::new(loopback, trusted);
    peer.is_trusted |= !trusted.is_empty();
    forwarded::client(headers, peer, &forwarded::text(loopback), host, trusted)
}
