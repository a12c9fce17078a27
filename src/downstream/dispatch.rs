//! THE ROAD: what happens to a request, in order.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Version};

use super::account::Account;
use super::body::Arriving;
use super::edge::{self, Policies};
use super::endpoints::{self, About, Own};
use super::exchange::{self, Connection, Exchange};
use super::offer::Offer;
use super::respond::{Problem, REQUEST_ID};
use super::websocket::Came;
use super::{limits, passthrough, tunnel, websocket};
use crate::config::CorsMode;
use crate::edge::cors::{self, Marks};
use crate::edge::hygiene::forwarded::Peer;
use crate::edge::hygiene::own::{self, Taken};
use crate::edge::hygiene::{Fault, names, request};
use crate::edge::pressure::Level;
use crate::error::Side;
use crate::route::{InForce, Match};
use crate::upstream::Body;

/// Seconds after which somebody who found no room may try again, spread at random.
const RETRY_SECONDS: RangeInclusive<u32> = 5..=15;

/// Seconds after which a client that finds us leaving comes back, spread at random.
const DRAINING_SECONDS: RangeInclusive<u32> = 1..=5;

/// Answers one request. Every answer bears its number, and its account is followed to the end.
pub async fn dispatch(connection: Arc<Connection>, request: Request<Arriving>) -> Response<Body> {
    let in_force = connection.shared.in_force.load_full();
    let trusted = &in_force.config.server.trusted_proxies;
    let peer = connection.remote.peer(trusted);
    let mut account = Account::open(
        request.method().clone(),
        exchange::request_id(peer, request.headers()),
        connection.peer.clone(),
        connection.traffic.clone(),
        connection.shared.telemetry.clone(),
    );
    let telemetry = &connection.shared.telemetry;
    account.span = telemetry.trace_request(request.method(), request.headers(), peer.is_trusted);
    let is_reusable = request.version() <= Version::HTTP_11;
    account.version = request.version();
    let (head, body) = request.into_parts();
    let is_waited_for = request::names_websocket(&head) && body.is_nothing();
    let mut marks = Marks::default();
    let outcome = walk(
        &connection,
        in_force,
        peer,
        head,
        body,
        &mut account,
        &mut marks,
    )
    .await;
    let mut response = outcome.unwrap_or_else(|problem| {
        // A body that broke a rule is known by the exchange that it broke.
        let broken = || Some(connection.traffic.as_ref()?.fault()?.reason());
        let reason = match problem.side {
            Side::Downstream => problem.reason.or_else(broken),
            _ => problem.reason,
        };
        if let Some(reason) = reason {
            let telemetry = &connection.shared.telemetry;
            telemetry.request_refused(reason, &account.id, &account.remote);
            if let Some(protocol) = account.asked_for {
                let route = account.route.as_deref().unwrap_or("-");
                telemetry.handshake_refused(route, protocol, reason);
            }
        }
        account.side.get_or_insert(problem.side);
        problem.into_response(&account.id)
    });
    let is_granted = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, account.id.value());
    if !is_granted {
        marks.put(headers);
    }
    if is_reusable && connection.shared.draining.load(Ordering::Relaxed) && !is_granted {
        // Nobody's next request should meet a connection that is being closed.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    if let Some(traffic) = connection
        .traffic
        .as_ref()
        .filter(|_| is_waited_for && !is_granted)
    {
        traffic.decline_handshake();
    }
    account.follow(response)
}

async fn walk(
    connection: &Arc<Connection>,
    in_force: Arc<InForce>,
    peer: Peer,
    mut head: Parts,
    body: Arriving,
    account: &mut Account,
    marks: &mut Marks,
) -> Result<Response<Body>, Problem> {
    let server = &in_force.config.server;

    // Hygiene. What broke a rule below the engine arrives here as a mark.
    if let Some(fault) = head.extensions.remove::<Fault>() {
        return Err(fault.into());
    }
    let inspected = request::inspect(&head, connection.remote.proto)
        .and_then(|inspected| {
            names::disambiguate(&mut head.headers, server.underscore_headers)?;
            Ok(inspected)
        })
        .inspect_err(|fault| {
            if let Some(traffic) = &connection.traffic {
                traffic.set_fault(*fault);
            }
        })?;
    let id = account.id.clone();
    let mut exchange = Exchange::new(connection, in_force.clone(), peer, id, inspected, &head);
    account.remote.clone_from(&exchange.client.ip);
    account.path.clone_from(&exchange.path);

    // Edge: connection caps were kept at the door; memory that runs short.
    let level = connection.shared.pressure.level();
    if level >= Level::Full || exchange.is_handshake && level >= Level::Tight {
        let retry = fastrand::u32(RETRY_SECONDS);
        return Err(Problem::overloaded("memory", "memory runs short", retry));
    }

    // Route: an endpoint of ours, or a route of the file; and the policies that hold there.
    let place = Place::find(&exchange, &head);
    let place = place.inspect_err(|_| *marks = edge::marks_of_nowhere(&exchange, &head))?;
    account.route = place.found.as_ref().map(|found| found.route.name.clone());
    if exchange.is_handshake {
        account.asked_for = match &place.found {
            Some(found) if !found.bridged => None,
            Some(_) => Some(websocket::protocol(&head.headers)),
            None => Some("json"),
        };
    }

    // Edge: origin and preflight, limits by address, who it is, CSRF, what is required, limits by user.
    let policies = place.policies(&in_force);
    if let Some(answer) = edge::judge_origin(&exchange, &head, policies.cors, marks)? {
        account.action = "preflight";
        return Ok(answer);
    }
    let offer = place.expect_handshake(&exchange, &head)?;
    let name = account.route.as_deref().unwrap_or("-");
    limits::by_place(&exchange, policies, name)?;
    if offer.is_some() && account.asked_for.is_some() {
        limits::handshake(&exchange).await?;
    }
    let taken = Taken {
        positions: place
            .found
            .as_ref()
            .is_some_and(|found| found.route.source.is_some()),
        auths: policies.auth,
    };
    let parameters = own::take_parameters(exchange.query.as_deref(), taken);
    exchange.query.clone_from(&parameters.query);
    let mut entrant = edge::admit(&exchange, &head, policies, &parameters, offer.as_ref()).await?;
    limits::by_user(&exchange, policies, name, offer.as_ref(), &mut entrant)?;
    let came = Came {
        offer: offer.unwrap_or_default(),
        parameters,
        entrant,
    };

    // Decide: who gets WebSocket. Then bridge, tunnel, or pass through.
    let Place {
        own, found, about, ..
    } = &place;
    match (own, found) {
        (Some(Own::Transport), _) => {
            account.action = "own";
            endpoints::transport(&exchange, &head, about.as_ref(), came.entrant.identity())
        }
        (Some(Own::Ticket), _) => {
            account.action = "own";
            endpoints::ticket(&exchange, &head, policies, &came.entrant)
        }
        (Some(Own::WebSocket), _) => {
            account.action = "websocket";
            websocket::multiplex(connection, &exchange, head, came)
        }
        (None, Some(found)) if exchange.is_handshake && found.bridged => {
            account.action = "websocket";
            websocket::single(connection, &exchange, &found.route, head, came)
        }
        (None, Some(found)) if exchange.is_handshake => {
            account.action = "tunnel";
            tunnel::open(connection, &exchange, found, head, body, came, account).await
        }
        (None, Some(found)) => {
            account.action = "passthrough";
            passthrough::pass(&exchange, found, head, body, &came, account).await
        }
        (None, None) => Err(Problem::no_route()),
    }
}

/// What a request is for.
struct Place {
    own: Option<Own>,
    found: Option<Match>,
    /// What an endpoint of ours is asked about.
    about: Option<About>,
    /// It only asks what may be asked.
    is_preflight: bool,
}

impl Place {
    fn find(exchange: &Exchange, head: &Parts) -> Result<Place, Problem> {
        let routes = &exchange.in_force.routes;
        let own = endpoints::find(&exchange.in_force.config.server.prefix, &exchange.path)?;
        if own.is_some() {
            let about = match own {
                Some(Own::Transport | Own::Ticket) => endpoints::about(exchange)?,
                Some(Own::WebSocket) | None => None,
            };
            return Ok(Place {
                own,
                found: None,
                about,
                is_preflight: false,
            });
        }
        // A preflight is judged by the route that it asks about.
        let asked = cors::preflight_method(&head.method, &head.headers);
        let method = asked.as_ref().unwrap_or(&head.method);
        let (host, path) = (&exchange.host.name, &exchange.path);
        let found = routes.find(host, method, path);
        let found = found.ok_or_else(Problem::no_route)?;
        if routes.is_in_doubt(host, method, path, exchange.is_ambiguous, &found.route) {
            return Err(Fault::Path.into());
        }
        Ok(Place {
            own: None,
            found: Some(found),
            about: None,
            is_preflight: asked.is_some(),
        })
    }

    fn policies<'a>(&'a self, in_force: &'a InForce) -> Policies<'a> {
        let asked = self.about.as_ref().map(|about| &about.found);
        let Some(found) = self.found.as_ref().or(asked) else {
            return Policies::of_websocket(&in_force.config);
        };
        let policies = Policies::of_route(&found.route);
        let is_backends = policies
            .cors
            .is_some_and(|cors| cors.mode == CorsMode::Passthrough);
        match self.is_preflight && is_backends {
            // Browsers send no credentials with it, and the backend has to see it.
            true => Policies {
                auth: &[],
                require: None,
                ..policies
            },
            false => policies,
        }
    }

    /// The form of a handshake, before anybody is asked who sends it; `None` where it is none.
    fn expect_handshake(
        &self,
        exchange: &Exchange,
        head: &Parts,
    ) -> Result<Option<Offer>, Problem> {
        if !exchange.is_handshake {
            return match self.own {
                Some(Own::WebSocket) => Err(Problem::upgrade_required()),
                _ => Ok(None),
            };
        }
        websocket::key(&head.headers)?;
        let is_ours = self.found.as_ref().is_none_or(|found| found.bridged);
        if is_ours && exchange.shared.draining.load(Ordering::Relaxed) {
            return Err(Problem::draining(fastrand::u32(DRAINING_SECONDS)));
        }
        Offer::read(&head.headers).map(Some)
    }
}
