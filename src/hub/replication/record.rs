//! Which topic another process has: every member may come from a version that is not ours, so all is checked anew where it
//! arrives.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::config::Route;
use crate::event::Epoch;
use crate::hub::key::{Credentials, Identity, Owner, Principal, Scope, Target, TopicKey};

/// A topic's identity, and what reading it takes.
#[derive(Serialize, Deserialize)]
pub(crate) struct TopicRecord {
    route: String,
    /// The route's fingerprint: where it differs the topic is another one.
    reads: String,
    params: Vec<(String, String)>,
    url: String,
    host: Text,
    proto: String,
    vary: Vec<(String, Text)>,
    scope: Whose,
    #[serde(default)]
    owner: Owner,
    epoch: u32,
    cookie: Option<Text>,
    authorization: Option<Text>,
    #[serde(default)]
    identity: Vec<(String, Text)>,
}

/// A [`Scope`] that may be handed over: connections are not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Whose {
    Public,
    /// Everything that the credentials are.
    User(Text),
    /// A user that an `[auth]` has verified: the old process has checked that.
    Subject(Text),
    /// Those with the same claims, likewise.
    Claims(Text),
    /// All users that one policy admits, likewise.
    Authenticated(Text),
}

/// Bytes, as base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Text(String);

impl TopicRecord {
    /// Writes a topic's identity down; `None` where it cannot be another process's: connections stay where they are.
    pub(in crate::hub) fn write(
        key: &TopicKey,
        target: &Target,
        credentials: &Credentials,
        owner: Owner,
        epoch: Epoch,
    ) -> Option<Self> {
        let vary = target.vary.iter();
        Some(TopicRecord {
            route: target.route.name.to_string(),
            reads: key.reads.to_string(),
            params: target.params.clone(),
            url: target.url.clone(),
            host: Text::of(target.host.as_bytes()),
            proto: target.proto.to_owned(),
            vary: vary
                .map(|(name, value)| (name.to_string(), Text::of(value.as_bytes())))
                .collect(),
            scope: match target.scope {
                Scope::Public => Whose::Public,
                Scope::User(Principal(hash)) if target.route.auth.is_empty() => {
                    Whose::User(Text::of(&hash))
                }
                Scope::User(Principal(hash)) => Whose::Subject(Text::of(&hash)),
                Scope::Claims(Principal(hash)) => Whose::Claims(Text::of(&hash)),
                Scope::Authenticated(Principal(hash)) => Whose::Authenticated(Text::of(&hash)),
                Scope::Connection(_) => return None,
            },
            owner,
            epoch: epoch.0,
            cookie: credentials.cookie.as_ref().map(Text::of_value),
            authorization: credentials.authorization.as_ref().map(Text::of_value),
            identity: (credentials.identity.iter())
                .map(|(name, value)| (name.to_string(), Text::of_value(value)))
                .collect(),
        })
    }

    /// Reads it back, on the routes that are configured here. `None` where a route reads something else now, or where anything
    /// does not fit together: credentials that are not the principal's above all.
    pub(in crate::hub) fn read(
        &self,
        find: impl FnOnce(&str) -> Option<Arc<Route>>,
    ) -> Option<Identity> {
        let route = find(&self.route).filter(|route| route.source.is_some())?;
        let value = |text: &Text| HeaderValue::from_bytes(&text.bytes()?).ok();
        let optional = |text: &Option<Text>| match text {
            Some(text) => value(text).map(Some),
            None => Some(None),
        };
        let fields = |fields: &[(String, Text)]| {
            let field = |(name, text): &(String, Text)| {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                Some((name, value(text)?))
            };
            fields.iter().map(field).collect::<Option<Vec<_>>>()
        };
        let credentials = Credentials {
            cookie: optional(&self.cookie)?,
            authorization: optional(&self.authorization)?,
            identity: fields(&self.identity)?,
        };
        let principal = |hash: &Text| Some(Principal(hash.bytes()?.try_into().ok()?));
        // What was found out by authentication there holds only where there is authentication here, and the other way round.
        let is_known = !route.auth.is_empty();
        let scope = match &self.scope {
            Whose::Public if credentials == Credentials::default() => Scope::Public,
            Whose::User(hash) if !is_known => Scope::User(principal(hash)?),
            Whose::Subject(hash) if is_known => Scope::User(principal(hash)?),
            Whose::Claims(hash) if is_known => Scope::Claims(principal(hash)?),
            Whose::Authenticated(hash) if is_known => Scope::Authenticated(principal(hash)?),
            Whose::Public
            | Whose::User(_)
            | Whose::Subject(_)
            | Whose::Claims(_)
            | Whose::Authenticated(_) => return None,
        };
        let is_anonymous = matches!(self.scope, Whose::User(_));
        if is_anonymous && scope != Scope::User(credentials.principal()) {
            return None;
        }
        let target = Target {
            params: self.params.clone(),
            url: self.url.clone(),
            host: value(&self.host)?,
            proto: ["http", "https"].into_iter().find(|p| *p == self.proto)?,
            vary: fields(&self.vary)?,
            scope,
            owner: self.owner,
            route,
        };
        let key = TopicKey::of(&target);
        let is_read = *key.reads == *self.reads && target.route.read_url(&self.url) == self.url;
        is_read.then(|| Identity {
            key,
            target: Arc::new(target),
            credentials,
            epoch: Epoch(self.epoch),
        })
    }
}

impl std::fmt::Debug for TopicRecord {
    /// Without its credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicRecord")
            .field("route", &self.route)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Text {
    fn of(bytes: &[u8]) -> Self {
        Text(STANDARD.encode(bytes))
    }

    fn of_value(value: &HeaderValue) -> Self {
        Text::of(value.as_bytes())
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.0).ok()
    }
}
