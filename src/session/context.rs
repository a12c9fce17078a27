//! What every part of a session works by: the process around it, the configuration in force, and whose policies are the
//! connection's own; and what a part wants done.

use std::sync::Arc;

use hyper::Method;

use super::Services;
use super::accepted::Mode;
use super::client::Located;
use super::handle::SessionHandle;
use super::joined_namespace::JoinedNamespace;
use super::registry::Registration;
use crate::config::{Auth, Namespace, RateLimit, Route, WebSocket};
use crate::error::{Code, Refusal};
use crate::policy::auth::Authenticated;
use crate::protocol::Tag;
use crate::router::InForce;

/// See the module.
pub(super) struct Context {
    pub(crate) shared: Arc<Services>,
    pub(crate) membership: Registration,
    /// As of the last look; reloads and stages ask for another one.
    pub(crate) in_force: Arc<InForce>,
    pub(crate) realm: Realm,
}

/// What a connection reaches, and so which policies are its own. Each subscription and request has those of its route as well.
#[derive(Clone, Debug)]
pub(super) enum Realm {
    /// `PREFIX/ws`: any route.
    Every,
    /// A bridged route's own path: that one stream, with which the session ends. The route as it was found.
    Stream(Arc<Route>),
    /// One namespace of a Socket.IO client: what its rules name.
    Namespace(Arc<JoinedNamespace>),
}

impl Realm {
    /// What a handshake asks for.
    pub(crate) fn of(mode: &Mode) -> Self {
        match mode {
            Mode::Multiplex => Realm::Every,
            Mode::Single { found, .. } => Realm::Stream(found.route.clone()),
            Mode::Namespace(joined) => Realm::Namespace(joined.clone()),
        }
    }

    /// One stream, and nothing else.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Realm::Stream(_))
    }

    /// As logs and metrics say it: `-` is no route's own.
    pub(crate) fn name(&self) -> &str {
        match self {
            Realm::Every | Realm::Namespace(_) => "-",
            Realm::Stream(route) => &route.name,
        }
    }

    /// Whether a client whose rollout says legacy stays here, because it polls.
    pub(crate) fn keeps_legacy(&self, in_force: &InForce) -> bool {
        matches!(self, Realm::Namespace(joined) if joined.keeps_legacy(in_force))
    }

    /// Whether events bear positions, by which the client comes back.
    pub(crate) fn has_positions(&self) -> bool {
        matches!(self, Realm::Namespace(joined) if joined.has_positions)
    }

    /// Whether it is a namespace that a reload has taken away.
    pub(crate) fn is_removed(&self, in_force: &InForce) -> bool {
        matches!(self, Realm::Namespace(joined) if joined.of(in_force).is_none())
    }

    /// The namespace as its client named it.
    pub(crate) fn namespace_name(&self) -> Option<&Arc<str>> {
        match self {
            Realm::Namespace(joined) => Some(&joined.name),
            Realm::Every | Realm::Stream(_) => None,
        }
    }

    /// The namespace; `None` where it is none, or a reload has taken it away.
    pub(crate) fn namespace<'a>(&self, in_force: &'a InForce) -> Option<&'a Arc<Namespace>> {
        match self {
            Realm::Namespace(joined) => joined.of(in_force),
            Realm::Every | Realm::Stream(_) => None,
        }
    }

    /// The route of the one stream; `None` where there are many, or a reload has taken it away.
    pub(crate) fn route<'a>(&self, in_force: &'a InForce) -> Option<&'a Arc<Route>> {
        let Realm::Stream(found) = self else {
            return None;
        };
        let mut routes = in_force.routes.bridged();
        routes.find(|route| route.name == found.name)
    }

    fn rate_limit<'a>(&self, in_force: &'a InForce) -> Option<&'a Arc<RateLimit>> {
        match self {
            Realm::Every => in_force.config.websocket.rate_limit.as_ref(),
            Realm::Stream(_) => self.route(in_force)?.rate_limit.as_ref(),
            Realm::Namespace(joined) => joined.of(in_force)?.rate_limit.as_ref(),
        }
    }

    /// Largest message of the client, bytes.
    pub(crate) fn max_message(&self, in_force: &InForce) -> usize {
        let most = match (self, &in_force.config.socketio) {
            (Realm::Namespace(_), Some(socketio)) => socketio.max_payload,
            _ => in_force.config.websocket.max_message,
        };
        let own = self.rate_limit(in_force).and_then(|own| own.max_message);
        own.map_or(most, |own| own.min(most))
    }
}

impl Context {
    /// The session as others see it.
    pub(crate) fn member(&self) -> &Arc<SessionHandle> {
        &self.membership.member
    }

    pub(crate) fn rules(&self) -> &WebSocket {
        &self.in_force.config.websocket
    }

    /// Largest message of the client, bytes.
    pub(crate) fn max_message(&self) -> usize {
        self.realm.max_message(&self.in_force)
    }

    /// The policies of the connection itself: those of `PREFIX/ws`, or of the one stream's route.
    pub(crate) fn own_auths(&self) -> &[Arc<Auth>] {
        let none: &[Arc<Auth>] = &[];
        match &self.realm {
            Realm::Every => &self.rules().auth,
            Realm::Stream(_) => self.own_route().map_or(none, |route| &route.auth),
            Realm::Namespace(joined) => {
                let namespace = joined.of(&self.in_force);
                namespace.map_or(none, |namespace| &namespace.auth)
            }
        }
    }

    /// The limits of the connection itself.
    pub(crate) fn own_limit(&self) -> Option<&Arc<RateLimit>> {
        self.realm.rate_limit(&self.in_force)
    }

    /// As [`Realm::route`].
    pub(crate) fn own_route(&self) -> Option<&Arc<Route>> {
        self.realm.route(&self.in_force)
    }

    /// The user that one of these policies has admitted.
    pub(crate) fn admission_of(&self, auths: &[Arc<Auth>]) -> Option<Arc<Authenticated>> {
        let mut names = auths.iter().map(|auth| &auth.name);
        names.find_map(|name| self.member().admission(name))
    }

    /// The user that a route's rollout judges: the one that its policy has admitted, else the connection's own.
    pub(crate) fn judged(
        &self,
        admitted: Option<&Arc<Authenticated>>,
    ) -> Option<Arc<Authenticated>> {
        admitted
            .cloned()
            .or_else(|| self.admission_of(self.own_auths()))
    }

    /// The user that the connection belongs to: admitted by its own policies, or, where it has none, by a route's
    /// first.
    pub(crate) fn owner(&self) -> Option<Arc<Authenticated>> {
        let own = self.own_auths();
        match own.is_empty() {
            true => self.member().admissions().into_iter().next(),
            false => self.admission_of(own),
        }
    }

    /// As [`Client::find`](super::client::Client::find), by what is in force.
    ///
    /// # Errors
    /// There is no such route, or the path is none.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<Located, Refusal> {
        self.member().client.find(&self.in_force, method, path)
    }

    /// The route that the one stream reads may have another name now.
    pub(crate) fn follow_name(&mut self, url: &str) {
        if self.realm.is_stream()
            && let Ok((found, _)) = self.find(&Method::GET, url)
        {
            self.member().cohort.live_by(&found.route);
            self.realm = Realm::Stream(found.route);
        }
    }
}

/// One of these things.
pub(super) enum Effect {
    /// The session ends with this close code.
    Close(u16, &'static str),
    /// It is known which user it is: the client is welcome.
    Welcome,
    /// What the client has sent under this tag was done.
    Accept(Tag),
    /// It was not.
    Refuse(Tag, Refusal),
    /// The user's subscriptions go on by this admission, as far as it suffices.
    Renew(Arc<Authenticated>),
    /// The policy of this name knows no user here any more: what they had subscribed to ends so.
    Lose(Arc<str>, Code),
    /// The user's token ends soon; Unix seconds.
    Expires(u64),
}

/// What is to be done, in order. A close is the last of them.
#[derive(Default)]
pub(super) struct Effects(Vec<Effect>);

impl Effects {
    pub(super) fn push(&mut self, effect: Effect) {
        if !self.closes() {
            self.0.push(effect);
        }
    }

    /// Whether the session ends.
    pub(super) fn closes(&self) -> bool {
        matches!(self.0.last(), Some(Effect::Close(..)))
    }
}

impl IntoIterator for Effects {
    type Item = Effect;
    type IntoIter = std::vec::IntoIter<Effect>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
