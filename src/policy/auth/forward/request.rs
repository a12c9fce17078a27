//! The request that asks an authority: what it is asked with, and nothing else of the client.

use hyper::header::{ACCEPT, ACCEPT_ENCODING, COOKIE, HOST, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use sha2::{Digest, Sha256};

use super::cache::CacheKey;
use crate::config::Forward;
use crate::error::{Error, ErrorKind};
use crate::http::body::{self, Body};
use crate::http::cdn_loop::{CDN_LOOP, Way};
use crate::http::hop_by_hop;
use crate::policy::auth::credential::{Credential, Inputs};
use crate::upstream::ClientAddress;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is known of the client beside their credentials.
#[derive(Clone)]
pub struct Context {
    /// The host that they asked for.
    pub(crate) host: HeaderValue,
    /// The scheme that they used.
    pub(crate) proto: &'static str,
    /// Their address. No part of what an answer is cached under: clients change addresses.
    pub(crate) remote: String,
    /// Where the request has been that they sent. No part of what an answer is cached under.
    pub(crate) way: Way,
}

/// The request that asks an authority to verify these credentials.
///
/// # Errors
/// `Other` where the path cannot be sent.
pub(crate) fn request(
    forward: &Forward,
    inputs: Inputs,
    context: Context,
) -> Result<Request<Body>, Error> {
    AuthRequest::new("", inputs, context).request(forward)
}

/// What the authority is asked.
pub(crate) struct AuthRequest {
    inputs: Inputs,
    context: Context,
    /// Digest of the inputs.
    pub(crate) credential: [u8; 32],
    /// Where its answer is found again.
    pub(crate) key: CacheKey,
}

impl AuthRequest {
    /// The question of one `[auth]`.
    pub(crate) fn new(auth: &str, inputs: Inputs, context: Context) -> Self {
        let credential = Credential::Inputs(inputs.clone()).digest();
        let mut hash = Sha256::new();
        let parts = [
            auth.as_bytes(),
            context.host.as_bytes(),
            context.proto.as_bytes(),
            &credential,
        ];
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        AuthRequest {
            inputs,
            context,
            credential,
            key: hash.finalize().into(),
        }
    }

    /// Whether the request that asks has come from here: the question that it would join may be the one that it is a part of.
    pub(crate) fn comes_back(&self) -> bool {
        self.context.way.rounds > 0
    }

    /// The request; a GET without a body.
    ///
    /// # Errors
    /// `Other` where the path cannot be sent.
    pub(crate) fn request(&self, forward: &Forward) -> Result<Request<Body>, Error> {
        let uri: Uri = (forward.path.parse())
            .map_err(|_| Error::upstream(ErrorKind::Other, "the path cannot be sent"))?;
        let mut request = Request::new(body::empty());
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        for (name, value) in &self.inputs.fields {
            headers.append(name.clone(), value.clone());
        }
        hop_by_hop::strip(headers);
        // Ours come last: no field of the client's stands for one of them, whatever the policy names.
        let context = &self.context;
        // HTTP/1.0 may name none: then the authority's own address is its host.
        let host = || Some(context.host.clone()).filter(|host| !host.is_empty());
        let of_the_edge = [
            (HOST, host()),
            (ACCEPT, Some(HeaderValue::from_static("application/json"))),
            (ACCEPT_ENCODING, Some(HeaderValue::from_static("identity"))),
            (COOKIE, self.inputs.cookie.clone()),
            (CDN_LOOP, context.way.field.clone()),
            (FORWARDED_FOR, HeaderValue::from_str(&context.remote).ok()),
            (FORWARDED_HOST, host()),
            (
                FORWARDED_PROTO,
                Some(HeaderValue::from_static(context.proto)),
            ),
        ];
        for (name, value) in of_the_edge {
            headers.remove(&name);
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        if forward.upstream.balance.wants_address() {
            let client = ClientAddress(context.remote.as_str().into());
            request.extensions_mut().insert(client);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::AUTHORIZATION;

    use super::super::tests::{context, forward};
    use super::*;

    fn cookie(value: &'static str) -> Inputs {
        Inputs {
            cookie: Some(HeaderValue::from_static(value)),
            fields: Vec::new(),
        }
    }

    #[test]
    fn it_carries_what_the_policy_names_and_what_the_edge_knows() {
        let field = |name: &'static str, value: &'static str| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        let inputs = Inputs {
            fields: vec![
                field("authorization", "Bearer t"),
                // A configuration that lists these does not get a client's own claims.
                field("x-forwarded-for", "6.6.6.6"),
                field("x-forwarded-host", "evil.example"),
                field("host", "evil.example"),
                field("connection", "upgrade"),
                field("upgrade", "websocket"),
            ],
            ..cookie("sid=1")
        };
        let question = AuthRequest::new("session", inputs, context());
        let request = question.request(&forward("127.0.0.1:1")).unwrap();
        assert_eq!(
            (request.method(), request.uri().path()),
            (&hyper::Method::GET, "/me")
        );
        let mut headers: Vec<(&str, &str)> = (request.headers().iter())
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        headers.sort_unstable();
        assert_eq!(
            headers,
            [
                ("accept", "application/json"),
                ("accept-encoding", "identity"),
                (AUTHORIZATION.as_str(), "Bearer t"),
                ("cookie", "sid=1"),
                ("host", "app.example"),
                ("x-forwarded-for", "192.0.2.7"),
                ("x-forwarded-host", "app.example"),
                ("x-forwarded-proto", "https"),
            ]
        );
    }

    #[test]
    fn cached_answer_is_keyed_by_exactly_what_it_depends_on() {
        let key = |auth: &str, change: fn(&mut Inputs, &mut Context)| {
            let (mut inputs, mut context) = (cookie("sid=1"), context());
            change(&mut inputs, &mut context);
            AuthRequest::new(auth, inputs, context).key
        };
        let base = key("session", |_, _| {});
        assert_eq!(
            key("session", |_, context| context.remote = "::1".into()),
            base
        );
        for other in [
            key("other", |_, _| {}),
            key("session", |inputs, _| *inputs = cookie("sid=2")),
            key("session", |inputs, _| inputs.cookie = None),
            key("session", |inputs, _| {
                let value = HeaderValue::from_static("Bearer t");
                inputs.fields.push((AUTHORIZATION, value));
            }),
            key("session", |_, context| {
                context.host = HeaderValue::from_static("b.example")
            }),
            key("session", |_, context| context.proto = "http"),
        ] {
            assert_ne!(other, base);
        }
    }
}
