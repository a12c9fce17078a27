//! The authority behind one `[auth.NAME]`.

use std::sync::Arc;

use crate::config::{Auth, AuthKind, Jwt, KeySource};
use crate::policy::auth::forward::Authority;
use crate::policy::auth::jwks::KeySet;
use crate::policy::auth::jwt::Keys;
use crate::telemetry::Telemetry;
use crate::upstream::Upstreams;

/// One `[auth.NAME]` at work.
pub(super) struct Engine {
    pub(super) auth: Arc<Auth>,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Jwt(Box<Jwt>, Verifiers),
    Forward(Arc<Authority>),
    ApiKey,
}

pub(super) enum Verifiers {
    Local(Option<Arc<Keys>>),
    Set(Arc<KeySet>),
}

impl Engine {
    pub(super) fn new(
        auth: &Arc<Auth>,
        upstreams: &Upstreams,
        telemetry: &Arc<Telemetry>,
    ) -> Engine {
        let kind = match &auth.kind {
            AuthKind::Jwt(jwt) => {
                let verifiers = match &jwt.key {
                    KeySource::Url(url) => {
                        let set =
                            KeySet::new(&auth.name, url, &jwt.algorithms, upstreams, telemetry);
                        // Fetching begins: the first token waits less.
                        set.current();
                        Verifiers::Set(Arc::new(set))
                    }
                    KeySource::Secret(_) | KeySource::Public(_) => {
                        Verifiers::Local(Keys::local(jwt).map(Arc::new))
                    }
                };
                Kind::Jwt(Box::new(jwt.clone()), verifiers)
            }
            AuthKind::Forward(forward) => Kind::Forward(Arc::new(Authority::new(
                auth.name.clone(),
                forward.clone(),
                upstreams.clone(),
                telemetry.clone(),
            ))),
            AuthKind::ApiKey(_) => Kind::ApiKey,
        };
        Engine {
            auth: auth.clone(),
            kind,
        }
    }
}
