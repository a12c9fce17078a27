//! The request that a source sends: exactly what it may take from a client, and no more.

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue,
};
use hyper::{Method, Request, Uri};

use crate::error::{Error, ErrorKind};
use crate::http::body::{self, Body};
use crate::hub::{Credentials, Scope, Target};

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A request for the target, without a body. A public topic's carries no credential.
///
/// # Errors
/// `Other` where the target's URL is none.
pub(crate) fn request(
    target: &Target,
    credentials: &Credentials,
    method: Method,
    accept: &'static str,
) -> Result<Request<Body>, Error> {
    let uri: Uri = target
        .url
        .parse()
        .map_err(|_| Error::upstream(ErrorKind::Other, "the topic's URL cannot be sent"))?;
    let mut request = Request::new(body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(HOST, target.host.clone());
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(FORWARDED_HOST, target.host.clone());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(target.proto));
    for (name, value) in &target.vary {
        headers.append(name.clone(), value.clone());
    }
    if target.scope != Scope::Public {
        for (name, value) in [
            (COOKIE, &credentials.cookie),
            (AUTHORIZATION, &credentials.authorization),
        ] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        for (name, value) in &credentials.identity {
            headers.insert(name.clone(), value.clone());
        }
    }
    Ok(request)
}
