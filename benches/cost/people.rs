//! What it costs to authenticate and authorize a request.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use crossfade::config::{self, Config};
use crossfade::http::host::Host;
use crossfade::policy::auth::credential::{self, Extras};
use crossfade::policy::auth::revocation::Revocations;
use crossfade::policy::auth::{Authenticator, Check, context};
use crossfade::policy::cors;
use crossfade::policy::rate_limit::{Key, LimitKind, Limiters};
use crossfade::telemetry::Telemetry;
use crossfade::upstream::Upstreams;
use hyper::Method;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};

use crate::{Side, cost};

/// What stands before the point in the DER form of a P-256 key.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

struct World {
    config: Config,
    authenticator: Arc<Authenticator>,
    limiters: Limiters,
    keys: EcdsaKeyPair,
}

impl World {
    fn new() -> World {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let keys = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("a key");
        let der = [P256, keys.public_key().as_ref()].concat();
        let pem = STANDARD.encode(der);
        let text = format!(
            "[upstream.app]\nservers = [\"http://127.0.0.1:9\"]\n\
             [auth.jwt]\nkind = \"jwt\"\nissuer = \"https://login.example.com\"\naudience = \"app\"\n\
             public_key = \"\"\"-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n\"\"\"\n\
             [cors.default]\norigins = [\"https://app.example.com\"]\ncredentials = true\n\
             [rate_limit.default]\nrequests = \"1000000/s burst 1000000000\"\nby = \"user\"\n\
             [[route]]\npath = \"/{{*path}}\"\nupstream = \"app\"\nauth = \"jwt\"\nrequire = {{roles = [\"user\"]}}\n"
        );
        let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let loaded = config::parse(&text, "proxy.toml", &|_| None, &read);
        let config = loaded
            .unwrap_or_else(|problems| panic!("{problems:?}"))
            .config;
        let telemetry = Arc::new(Telemetry::default());
        let upstreams = Upstreams::new(telemetry.clone());
        let authenticator = Authenticator::new(upstreams, telemetry, Revocations::default());
        authenticator.adopt(&config);
        let limiters = Limiters::default();
        limiters.adopt(&config.rate_limits);
        World {
            config,
            authenticator: Arc::new(authenticator),
            limiters,
            keys,
        }
    }

    /// A token that was never seen.
    fn token(&self, number: u64) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let message = format!(
            "{}.{}",
            part(r#"{"alg":"ES256","typ":"JWT"}"#),
            part(&format!(
                r#"{{"iss":"https://login.example.com","aud":"app","sub":"alice","roles":["user"],"jti":"{number}","iat":{},"exp":{}}}"#,
                now.as_secs(),
                now.as_secs() + 3600
            ))
        );
        let signature = self.keys.sign(&SystemRandom::new(), message.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.expect("signed").as_ref());
        format!("{message}.{signature}")
    }

    /// Everything that the edge does with a request that it lets through: origin, limit, token, role.
    fn judge(&self, headers: &HeaderMap, host: &Host) -> bool {
        let Some(route) = self.config.routes.first() else {
            return false;
        };
        let ruling = cors::rule(&Method::GET, headers, host, None, route.cors.as_deref());
        black_box(ruling.is_ok());
        let found = credential::find(&route.auth, headers, &Extras::default());
        let Ok(Some(found)) = found else {
            return false;
        };
        let told = || {
            context(
                &HeaderValue::from_static("app.example.com"),
                "https",
                "192.0.2.1",
            )
        };
        let Check::Done(Ok(admission)) = self.authenticator.check(&route.auth, found, told) else {
            return false;
        };
        let require = route.require.as_ref();
        let fits = require.is_none_or(|require| admission.identity.fits(require).is_ok());
        let Some(limit) = &route.rate_limit else {
            return false;
        };
        let key = Key::user(&admission.identity.principal());
        fits && self
            .limiters
            .of(limit)
            .check(LimitKind::Requests, key, 1)
            .is_ok()
    }
}

fn request(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("app.example.com"));
    headers.insert(ORIGIN, HeaderValue::from_static("https://app.example.com"));
    let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
    headers.insert(AUTHORIZATION, bearer.expect("a value"));
    headers
}

/// The same person again: all of the edge, against a check of the signature alone.
pub fn known_person(side: Side) -> Vec<f64> {
    let world = World::new();
    let token = world.token(0);
    let headers = request(&token);
    let host = Host::parse(&HeaderValue::from_static("app.example.com")).expect("a host");
    match side {
        Side::Crossfade => {
            assert!(world.judge(&headers, &host), "let through");
            cost(200_000, || world.judge(&headers, &host))
        }
        Side::Peer => signature_alone(&world, &[token]),
    }
}

/// A user with a token that was never seen: all of the edge, against a check of the signature alone.
pub fn new_token(side: Side) -> Vec<f64> {
    let world = World::new();
    let tokens: Vec<String> = (0..CALLS * 2)
        .map(|number| world.token(number.into()))
        .collect();
    let host = Host::parse(&HeaderValue::from_static("app.example.com")).expect("a host");
    match side {
        Side::Crossfade => {
            let requests: Vec<HeaderMap> = tokens.iter().map(|token| request(token)).collect();
            let mut next = requests.iter();
            cost(CALLS, || match next.next() {
                Some(headers) => world.judge(headers, &host),
                None => panic!("no token is left that is new"),
            })
        }
        Side::Peer => signature_alone(&world, &tokens),
    }
}

/// Verifications in a round.
const CALLS: u32 = 20_000;

fn signature_alone(world: &World, tokens: &[String]) -> Vec<f64> {
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, world.keys.public_key().as_ref());
    let mut next = tokens.iter().cycle();
    cost(CALLS, || {
        let token = next.next().map_or("", String::as_str);
        let Some((message, signature)) = token.rsplit_once('.') else {
            return false;
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        key.verify(message.as_bytes(), &signature).is_ok()
    })
}
