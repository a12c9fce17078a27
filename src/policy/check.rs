//! The order of the checks.
//!
//! [`check`] is called until it allows or denies. Each time it gets what was found out since, and names the next step. The
//! request path and a session run that step by their own means (headers, limiters, authenticator, clocks), note it in
//! [`CheckProgress`] and call again. What waits for an authority keeps its progress, so nothing is counted twice.

use super::Policies;
use crate::config::{LimitBy, RateLimit};
use crate::policy::auth::credential;
use crate::policy::auth::error::AuthError;
use crate::policy::auth::identity::{Identity, Unfit};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A plain request: it passes through, or an endpoint of ours answers it.
    Request,
    /// A handshake for the backend's own WebSocket.
    Tunnel,
    /// A handshake for a session.
    Session {
        /// The client offers `crossfade.v1.json`: it can read a close code, and send a `hello`.
        json: bool,
    },
    /// The first `hello` of a session whose handshake had no credentials.
    Hello,
    /// A `sub`, or the one that a single stream implies.
    Sub,
    /// A `req`.
    Req,
    /// Another reading of a path that was asked for, guarded by a route of its own.
    Reading {
        /// A browser may have sent it by itself: a write by cookie has to bring its token.
        csrf: bool,
    },
}

/// One check. Their order here is the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// `Origin`, and preflights.
    Origin,
    /// What costs nothing and asks no authority: a handshake's form, draining, how many subscriptions and requests there are.
    Form,
    /// How fast a connection may subscribe.
    ConnectionRate,
    /// Which route a frame is for; a request's is known before.
    Route,
    /// The place's limits by address or by route.
    PlaceRate,
    /// The limit on handshakes of all clients together.
    Handshakes,
    /// The connections of the client's address.
    AddressConnections,
    /// Which user it is.
    Identity,
    /// A write by cookie brings what a foreign page cannot know.
    Csrf,
    /// Whether the user is what the place requires.
    Require,
    /// What guards other readings of the path.
    Readings,
    /// The place's limits by user.
    UserRate,
    /// The user's connections.
    UserConnections,
    /// Whether the rollout gives this user a WebSocket.
    Rollout,
}

/// All of them, in their order.
const ORDER: [Step; 14] = [
    Step::Origin,
    Step::Form,
    Step::ConnectionRate,
    Step::Route,
    Step::PlaceRate,
    Step::Handshakes,
    Step::AddressConnections,
    Step::Identity,
    Step::Csrf,
    Step::Require,
    Step::Readings,
    Step::UserRate,
    Step::UserConnections,
    Step::Rollout,
];

/// How far a check has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckProgress(Option<Step>);

/// What is known of the client that asks.
#[derive(Clone, Copy, Default)]
pub(crate) enum Known<'a> {
    /// Nothing: no policy has looked.
    #[default]
    Nothing,
    /// A policy has let this user in.
    Admitted {
        /// Which user it is.
        identity: &'a Identity,
        /// A browser may have sent the credential by itself, and the policy wants a token beside it.
        csrf: bool,
    },
    /// No policy has let the client in.
    Denied(&'a AuthError),
}

/// The connection that a frame came over.
#[derive(Clone, Copy, Default)]
pub(crate) struct Carrier<'a> {
    /// Its own limits.
    pub(crate) rate_limit: Option<&'a RateLimit>,
    /// Its own policies demand an identity.
    pub(crate) asks: bool,
    /// The user that they have accepted.
    pub(crate) user: Option<&'a Identity>,
    /// It carries one stream, which its handshake was counted for.
    pub(crate) is_single: bool,
}

/// What is known of an ask.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// What it is.
    pub(crate) ask: Ask,
    /// The policies of the place that it is for.
    pub(crate) place: Policies<'a>,
    /// The connection that it came over, for a frame.
    pub(crate) carrier: Carrier<'a>,
    /// What is known of the caller.
    pub(crate) known: Known<'a>,
    /// What was run already.
    pub(crate) progress: CheckProgress,
}

/// What follows.
#[derive(Debug)]
pub(crate) enum PolicyDecision<'a> {
    /// It may have what it asks for.
    Allow,
    /// The client has to authenticate in a `hello` first.
    AwaitHello,
    /// It may not.
    Deny(Reason<'a>),
    /// This has to be run, and noted.
    Run(Step),
    /// This has to be taken from what a policy allows, and noted.
    Count {
        /// Which step it is.
        step: Step,
        /// The policy.
        limit: &'a RateLimit,
        /// The user that it counts for, where one is known.
        user: Option<&'a Identity>,
    },
}

/// Why something is denied here. Steps that are run elsewhere have reasons of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason<'a> {
    /// No policy lets the client in.
    Denied(&'a AuthError),
    /// It is known which user it is, and that user is not what the place requires.
    Unfit(Unfit),
}

impl CheckProgress {
    /// A step was run, and so was all before it.
    pub(crate) fn note(&mut self, step: Step) {
        self.0 = self.0.max(Some(step));
    }

    fn has(self, step: Step) -> bool {
        self.0 >= Some(step)
    }
}

impl Step {
    /// Which checks an ask has to pass, whatever the place's policies are.
    fn concerns(self, ask: Ask) -> bool {
        let is_handshake = matches!(ask, Ask::Tunnel | Ask::Session { .. });
        let is_http = is_handshake || ask == Ask::Request;
        let is_frame = matches!(ask, Ask::Sub | Ask::Req);
        match self {
            Step::Origin => is_http,
            Step::Form | Step::PlaceRate | Step::Readings | Step::UserRate => is_http || is_frame,
            Step::ConnectionRate => ask == Ask::Sub,
            Step::Route => is_frame,
            Step::Handshakes => matches!(ask, Ask::Session { .. }),
            Step::AddressConnections => is_handshake,
            Step::Identity | Step::Require => true,
            Step::Csrf => matches!(ask, Ask::Request | Ask::Req | Ask::Reading { csrf: true }),
            Step::UserConnections => is_handshake || is_frame || ask == Ask::Hello,
            Step::Rollout => is_frame || matches!(ask, Ask::Session { .. } | Ask::Hello),
        }
    }
}

/// What follows from what is known of an ask. The order is [`Step`]'s.
pub(crate) fn check<'a>(view: &View<'a>) -> PolicyDecision<'a> {
    let mut steps = ORDER.into_iter().filter(|step| step.concerns(view.ask));
    let next = steps.find_map(|step| match step {
        // The user may have become known since, or be another one.
        Step::Identity => view.identity(),
        step if view.progress.has(step) => None,
        step => view.at(step),
    });
    next.unwrap_or(match view.known {
        Known::Denied(_) => PolicyDecision::AwaitHello,
        Known::Nothing | Known::Admitted { .. } => PolicyDecision::Allow,
    })
}

impl<'a> View<'a> {
    /// What a step comes to; `None` where it has nothing to say.
    fn at(&self, step: Step) -> Option<PolicyDecision<'a>> {
        let user = self.user();
        let run = |is_asked: bool| is_asked.then_some(PolicyDecision::Run(step));
        let count = |limit: Option<&'a RateLimit>, user| {
            limit.map(|limit| PolicyDecision::Count { step, limit, user })
        };
        match step {
            Step::Origin | Step::Form | Step::Route | Step::Handshakes => run(true),
            Step::ConnectionRate => {
                let limit = (self.carrier.rate_limit).filter(|_| !self.carrier.is_single);
                count(limit, self.carrier.user)
            }
            Step::PlaceRate => count(self.limit(|by| by != LimitBy::User), None),
            Step::AddressConnections => run(self.place.rate_limit.is_some()),
            Step::Identity => self.identity(),
            Step::Csrf => run(matches!(self.known, Known::Admitted { csrf: true, .. })),
            Step::Require => {
                let unfit = self.require(user?).err()?;
                Some(PolicyDecision::Deny(Reason::Unfit(unfit)))
            }
            Step::Readings => run(!self.place.others.is_empty()),
            Step::UserRate => count(self.limit(|by| by == LimitBy::User), user),
            // On a connection with policies of its own, the user was counted with the connection.
            Step::UserConnections => run(user.is_some() && !self.carrier.asks),
            Step::Rollout => run(!matches!(self.known, Known::Denied(_))),
        }
    }

    fn identity(&self) -> Option<PolicyDecision<'a>> {
        let denied = match self.known {
            Known::Admitted { .. } => return None,
            Known::Nothing if self.place.auth.is_empty() => return None,
            Known::Nothing => return Some(PolicyDecision::Run(Step::Identity)),
            Known::Denied(denied) => denied,
        };
        if *denied == AuthError::Missing
            && self.ask == (Ask::Session { json: true })
            && credential::awaits_message(self.place.auth)
        {
            return None;
        }
        // A guess at credentials has no user to count for: it counts for its address, or its connection.
        let is_counted = !denied.is_guess() || self.progress.has(Step::UserRate);
        let limit = self.limit(|by| by == LimitBy::User);
        Some(match limit.filter(|_| !is_counted) {
            Some(limit) => PolicyDecision::Count {
                step: Step::UserRate,
                limit,
                user: None,
            },
            None => PolicyDecision::Deny(Reason::Denied(denied)),
        })
    }

    fn user(&self) -> Option<&'a Identity> {
        match self.known {
            Known::Admitted { identity, .. } => Some(identity),
            Known::Nothing | Known::Denied(_) => None,
        }
    }

    /// A WebSocket needs all that its topic will want.
    fn require(&self, user: &Identity) -> Result<(), Unfit> {
        let follows = !matches!(self.ask, Ask::Request | Ask::Reading { .. });
        match (self.place.route.filter(|_| follows), self.place.require) {
            (Some(route), _) => user.may_follow(route),
            (None, Some(require)) => user.fits(require),
            (None, None) => Ok(()),
        }
    }

    /// The place's limits of this kind. A subscription counts once: not where its handshake, or its connection under the same
    /// limits, has counted for as much.
    fn limit(&self, is_meant: impl Fn(LimitBy) -> bool) -> Option<&'a RateLimit> {
        let limit = self.place.rate_limit.filter(|limit| is_meant(limit.by))?;
        let carrier = &self.carrier;
        let is_counted = self.ask == Ask::Sub
            && (carrier.is_single
                || carrier.rate_limit.is_some_and(|own| own.name == limit.name)
                    && match limit.by {
                        LimitBy::Ip => true,
                        LimitBy::User => carrier.asks,
                        LimitBy::Route => false,
                    });
        (!is_counted).then_some(limit)
    }
}
