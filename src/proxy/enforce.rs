//! The request path's side of [`policy::check`]: it runs the steps that a check names. What is refused here reaches no backend.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::header::ORIGIN;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response};

use super::context::RequestContext;
use super::context::{AuthContext, AuthOutcome, Came};
use super::limits;
use super::subprotocol::Subprotocols;
use super::target::Destination;
use crate::config::{Auth, Cors, Route};
use crate::http::body::{self, Body};
use crate::http::host::Host;
use crate::http::problem::Problem;
use crate::http::reserved_params::{self, ReservedParameters, Taken};
use crate::policy::auth::credential::{self, Extras};
use crate::policy::auth::forward::Context;
use crate::policy::auth::{AuthError, Authenticated, Check, context, csrf};
use crate::policy::cors::{self, CorsDecision, CorsHeaders};
use crate::policy::{
    self, Ask, Carrier, CheckProgress, Known, Policies, PolicyDecision, Reason, Step, View,
};
use crate::router::InForce;

/// What the checks of a request have come to.
#[expect(
    clippy::large_enum_variant,
    reason = "made once per request and taken apart at once"
)]
pub(crate) enum Checked {
    /// The answer to a preflight.
    Answered(Response<Body>),
    /// It goes on.
    Passed(Came),
}

/// Checks a request as [`policy::check`] says, with all that it brings.
///
/// # Errors
/// The first check that it does not pass.
pub(crate) async fn enforce(
    exchange: &mut RequestContext,
    in_force: &InForce,
    head: &Parts,
    destination: &Destination,
    ask: Ask,
    marks: &mut CorsHeaders,
) -> Result<Checked, Problem> {
    let place = destination.policies(in_force);
    let (mut offer, mut parameters) = (Subprotocols::default(), ReservedParameters::default());
    let (mut extras, mut seat, mut others) = (Extras::default(), None, Vec::new());
    let mut checks = Checks::new(ask, place);
    let entry = loop {
        let step = match checks.next(exchange)? {
            Next::Passed => break checks.entry(),
            Next::AwaitsHello => break AuthOutcome::Awaited,
            Next::Denied(reason, ask) => break turned_away(&reason, ask)?,
            Next::Run(step) => step,
        };
        match step {
            Step::Origin => {
                let (host, is_handshake) = (&exchange.client.host, exchange.is_handshake);
                let answer = judge_origin(in_force, host, is_handshake, head, place.cors, marks);
                if let Some(answer) = answer? {
                    return Ok(Checked::Answered(answer));
                }
                if let Destination::SocketIo(_) = destination
                    && !may_come_without_origin(head)
                {
                    let public_url = in_force.config.server.public_url.as_deref();
                    cors::judge(&head.headers, host, public_url, place.cors)?;
                }
            }
            Step::Form => {
                let is_draining = exchange.shared.draining.load(Ordering::Relaxed);
                let offered =
                    destination.expect_handshake(exchange.is_handshake, is_draining, head)?;
                parameters = take_parameters(exchange.query.as_deref(), destination, place.auth);
                exchange.query.clone_from(&parameters.query);
                extras = extras_of(offered.as_ref(), &parameters);
                offer = offered.unwrap_or_default();
                if let Ask::Session { json } = &mut checks.ask {
                    *json = offer.json;
                }
            }
            Step::Handshakes => limits::handshake(exchange).await?,
            Step::AddressConnections => seat = limits::take_seat(exchange, place)?,
            Step::Identity => checks.identify(exchange, head, &extras).await,
            Step::Csrf => checks.judge_csrf(head)?,
            Step::Readings => {
                for other in place.others {
                    // Rare, and large: it has memory of its own.
                    let admission = Box::pin(satisfy(exchange, head, other, &extras)).await?;
                    if let Some(admission) =
                        admission.filter(|new| !checks.is_known_by(new, &others))
                    {
                        others.push(Arc::new(admission));
                    }
                }
            }
            Step::UserConnections => {
                if let (Some(Ok(admission)), Some(seat)) = (&checks.outcome, &mut seat)
                    && let Err(crowded) = limits::count_for(exchange, place, admission, seat)
                {
                    match checks.ask {
                        Ask::Session { json: true } => break AuthOutcome::TurnedAway(4029),
                        _ => return Err(Problem::crowded(crowded)),
                    }
                }
            }
            // The handshake's own answer sets the cookie that decides it: see `websocket`.
            Step::Rollout => {}
            // Counted by `next`, judged by the check itself, or a frame's.
            Step::ConnectionRate
            | Step::Route
            | Step::PlaceRate
            | Step::UserRate
            | Step::Require => {}
        }
    };
    Ok(Checked::Passed(Came {
        offer,
        parameters,
        entrant: AuthContext {
            entry,
            others,
            extras,
            seat,
        },
    }))
}

/// Whether a request satisfies what guards another reading of its path; the user that its policy accepts.
async fn satisfy(
    exchange: &RequestContext,
    head: &Parts,
    other: &Route,
    extras: &Extras,
) -> Result<Option<Authenticated>, Problem> {
    let csrf = !exchange.is_handshake;
    let mut checks = Checks::new(Ask::Reading { csrf }, Policies::of_route(other));
    loop {
        match checks.next(exchange)? {
            Next::Passed | Next::AwaitsHello => return Ok(checks.outcome.and_then(Result::ok)),
            Next::Denied(reason, _) => return Err(refusal(&reason)),
            Next::Run(Step::Identity) => checks.identify(exchange, head, extras).await,
            Next::Run(Step::Csrf) => checks.judge_csrf(head)?,
            Next::Run(_) => {}
        }
    }
}

/// The checks of one place, as far as they have come.
struct Checks<'a> {
    ask: Ask,
    place: Policies<'a>,
    outcome: Option<Result<Authenticated, AuthError>>,
    progress: CheckProgress,
}

/// What comes next.
enum Next<'a> {
    Passed,
    AwaitsHello,
    Denied(Reason<'a>, Ask),
    Run(Step),
}

impl<'a> Checks<'a> {
    fn new(ask: Ask, place: Policies<'a>) -> Self {
        Checks {
            ask,
            place,
            outcome: None,
            progress: CheckProgress::default(),
        }
    }

    /// Goes on to the next step that has to be run; what has to be counted on the way is counted.
    fn next(&mut self, exchange: &RequestContext) -> Result<Next<'_>, Problem> {
        loop {
            let view = View {
                ask: self.ask,
                place: self.place,
                carrier: Carrier::default(),
                known: known(self.outcome.as_ref()),
                progress: self.progress,
            };
            match policy::check(&view) {
                PolicyDecision::Allow => return Ok(Next::Passed),
                PolicyDecision::AwaitHello => return Ok(Next::AwaitsHello),
                PolicyDecision::Deny(reason) => return Ok(Next::Denied(reason, self.ask)),
                PolicyDecision::Run(step) => {
                    self.progress.note(step);
                    return Ok(Next::Run(step));
                }
                PolicyDecision::Count { step, limit, user } => {
                    limits::count(exchange, limit, self.place, user)?;
                    self.progress.note(step);
                }
            }
        }
    }

    async fn identify(&mut self, exchange: &RequestContext, head: &Parts, extras: &Extras) {
        let outcome = identify(exchange, &head.headers, self.place.auth, extras);
        self.outcome = Some(outcome.await);
    }

    fn judge_csrf(&self, head: &Parts) -> Result<(), Problem> {
        match &self.outcome {
            Some(Ok(admission)) => judge_csrf(head, &admission.found.auth),
            None | Some(Err(_)) => Ok(()),
        }
    }

    /// Whether the same policy has let the client in already, here or at another reading.
    fn is_known_by(&self, new: &Authenticated, others: &[Arc<Authenticated>]) -> bool {
        let own = self.outcome.iter().flatten();
        let mut known = own.chain(others.iter().map(|other| &**other));
        known.any(|known| known.found.auth == new.found.auth)
    }

    fn entry(self) -> AuthOutcome {
        match self.outcome {
            Some(Ok(admission)) => AuthOutcome::Admitted(Arc::new(admission)),
            None | Some(Err(_)) => AuthOutcome::Unasked,
        }
    }
}

fn known(outcome: Option<&Result<Authenticated, AuthError>>) -> Known<'_> {
    match outcome {
        None => Known::Nothing,
        Some(Ok(admission)) => Known::Admitted {
            identity: &admission.identity,
            csrf: admission.needs_csrf(),
        },
        Some(Err(denied)) => Known::Denied(denied),
    }
}

/// How a denied client is refused: by a close code where there is a socket of ours that the client can read, and else by the
/// answer.
pub(super) fn turned_away(reason: &Reason<'_>, ask: Ask) -> Result<AuthOutcome, Problem> {
    match (ask, reason) {
        (Ask::Session { json: true }, Reason::Denied(AuthError::Unavailable(_))) => {
            Err(refusal(reason))
        }
        (Ask::Session { json: true }, Reason::Denied(denied)) => {
            Ok(AuthOutcome::TurnedAway(denied.close_code()))
        }
        (Ask::Session { json: true }, Reason::Unfit(_)) => Ok(AuthOutcome::TurnedAway(4003)),
        _ => Err(refusal(reason)),
    }
}

fn refusal(reason: &Reason<'_>) -> Problem {
    match reason {
        Reason::Denied(denied) => Problem::denied(denied),
        Reason::Unfit(unfit) => Problem::forbidden(unfit.detail()),
    }
}

/// Takes what is crossfade's own out of a query.
pub(super) fn take_parameters(
    query: Option<&str>,
    destination: &Destination,
    auths: &[Arc<Auth>],
) -> ReservedParameters {
    let route = destination.route();
    let taken = Taken {
        positions: route.is_some_and(|route| route.source.is_some()),
        // A preflight names the same tokens, though no policy judges them.
        auths: route.map_or(auths, |route| &route.auth),
    };
    reserved_params::take_parameters(query, taken)
}

/// What was presented beside header fields; a ticket is for one handshake, and nothing else.
pub(super) fn extras_of(offer: Option<&Subprotocols>, parameters: &ReservedParameters) -> Extras {
    Extras {
        subprotocol: offer.and_then(|offer| offer.bearer.clone()),
        message: None,
        query: parameters.tokens.clone(),
        ticket: offer.and_then(|_| parameters.ticket.clone()),
    }
}

/// Judges the `Origin`: of a handshake in any case, of all else where a policy is enforced. Breaks off with the answer to a
/// preflight.
pub(super) fn judge_origin(
    in_force: &InForce,
    host: &Host,
    is_handshake: bool,
    head: &Parts,
    cors: Option<&Cors>,
    marks: &mut CorsHeaders,
) -> Result<Option<Response<Body>>, Problem> {
    let public_url = in_force.config.server.public_url.as_deref();
    if is_handshake {
        cors::judge(&head.headers, host, public_url, cors)?;
        return Ok(None);
    }
    match cors::rule(&head.method, &head.headers, host, public_url, cors) {
        Ok(CorsDecision::Passes(granted)) => {
            *marks = granted;
            Ok(None)
        }
        Ok(CorsDecision::Preflight(headers)) => {
            let mut response = Response::new(body::empty());
            *response.status_mut() = hyper::StatusCode::NO_CONTENT;
            *response.headers_mut() = headers;
            Ok(Some(response))
        }
        Err(refused) => {
            *marks = refused.marks;
            Err(refused.why.into())
        }
    }
}

/// What is put onto the answer where there is no place whose policy could say so: by `[cors.default]`, so that a page may read
/// what was wrong.
pub(crate) fn marks_of_nowhere(exchange: &RequestContext, head: &Parts) -> CorsHeaders {
    let config = &exchange.in_force.config;
    let default = config.cors.get("default").map(|cors| &**cors);
    let (host, public_url) = (&exchange.client.host, config.server.public_url.as_deref());
    match cors::rule(&head.method, &head.headers, host, public_url, default) {
        Ok(CorsDecision::Passes(marks)) => marks,
        Ok(CorsDecision::Preflight(_)) => CorsHeaders::default(),
        Err(refused) => refused.marks,
    }
}

/// The identity behind what the client presents.
///
/// # Errors
/// No authority verifies it.
pub(super) async fn identify(
    exchange: &RequestContext,
    headers: &HeaderMap,
    auths: &[Arc<Auth>],
    extras: &Extras,
) -> Result<Authenticated, AuthError> {
    let authenticator = &exchange.shared.authenticator;
    let Some(found) = credential::find(auths, headers, extras)? else {
        let first = auths.first().map_or("", |auth| &auth.name);
        return Err(authenticator.missed(first));
    };
    let client = &exchange.client;
    let context = || Context {
        way: exchange.way.clone(),
        ..context(&exchange.host.value, client.proto, &client.ip)
    };
    match authenticator.check(auths, found, context) {
        Check::Done(outcome) => outcome,
        Check::Asks(asking) => asking.await,
    }
}

/// A write that a browser may have sent by itself has to bring what a foreign page cannot know.
pub(super) fn judge_csrf(head: &Parts, auth: &Auth) -> Result<(), Problem> {
    match &auth.csrf {
        Some(csrf) => {
            let judged = csrf::judge(&head.method, &head.headers, csrf);
            judged.map_err(|refused| Problem::csrf(refused.detail()))
        }
        None => Ok(()),
    }
}

/// Browsers send no `Origin` with a GET to their own origin.
fn may_come_without_origin(head: &Parts) -> bool {
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    is_read && !head.headers.contains_key(ORIGIN)
}
