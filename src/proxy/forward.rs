//! A request that goes to the backend as it is, and the answer on its way back. Both bodies
//! stream, piece by piece, at the pace of the slower side; nothing is buffered or compressed.

use std::time::Instant;

use hyper::header::{
    AUTHORIZATION, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Uri, Version};

use super::context::Came;
use super::context::RequestContext;
use super::expiry::Expiry;
use super::request_record::RequestRecord;
use super::transport_choice::Cohort;
use super::{error_response, redirect};
use crate::config::{ConnectionAuth, Rollout};
use crate::error::{Error, ErrorKind, Side};
use crate::http::body::Body;
use crate::http::header_case::Spelling;
use crate::http::problem::Problem;
use crate::http::request_id::REQUEST_ID;
use crate::http::{RequestViolation, forwarded, header_names, hop_by_hop, reserved_params};
use crate::policy::auth::AuthError;
use crate::router::Match;
use crate::server::client_connection::Connection;
use crate::server::request_body::RequestBody;
use crate::upstream::{ClientAddress, Purpose};

const TRANSPORT: HeaderName = HeaderName::from_static("crossfade-transport");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Passes one request through. Every answer of a bridged route names the transport that this
/// client is to use.
pub(crate) async fn pass(
    connection: &Connection,
    exchange: &RequestContext,
    found: &Match,
    head: Parts,
    body: RequestBody,
    came: &Came,
    account: &mut RequestRecord,
) -> Result<Response<Body>, Problem> {
    let route = &found.route;
    let marks = route.source.is_some().then(|| {
        let identity = came.entrant.identity();
        let cohort = Cohort::recognise(exchange, &head.headers, identity, route.rollout.iter());
        (cohort.decide(exchange, route).transport, cohort.cookie)
    });
    account.cohort = marks
        .as_ref()
        .map_or("", |(transport, _)| transport.as_str());
    let mut answer = go(connection, exchange, found, head, body, came, account).await;
    if let Some((transport, cookie)) = marks {
        if let Some(rollout) = &route.rollout {
            measure(exchange, rollout, &answer);
        }
        let headers = match &mut answer {
            Ok(response) => response.headers_mut(),
            Err(problem) => &mut problem.headers,
        };
        headers.insert(TRANSPORT, HeaderValue::from_static(transport.as_str()));
        if let Some(cookie) = &cookie {
            error_response::add_cookie(headers, cookie);
        }
    }
    answer
}

/// Counts an ordinary answer for the rollout of its route: what WebSocket is compared with. What the client itself has broken says
/// nothing of either side.
fn measure(exchange: &RequestContext, rollout: &Rollout, answer: &Result<Response<Body>, Problem>) {
    let status = match answer {
        Ok(response) => response.status(),
        Err(problem) if problem.side == Side::Downstream => return,
        Err(problem) => problem.status,
    };
    let telemetry = &exchange.shared.telemetry;
    telemetry
        .rollouts
        .legacy_answered(&rollout.name, status.is_server_error());
}

async fn go(
    connection: &Connection,
    exchange: &RequestContext,
    found: &Match,
    head: Parts,
    body: RequestBody,
    came: &Came,
    account: &mut RequestRecord,
) -> Result<Response<Body>, Problem> {
    let method = head.method.clone();
    account.expiry = Expiry::of(exchange, &came.entrant);
    let request = request(connection, exchange, found, head, body, came)?;
    let response = send(exchange, found, request, account).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let error = Error::upstream(ErrorKind::Broken, "it switched protocols unasked");
        account.blame(&error);
        exchange.refuse_answer(&found.route, &error);
        return Err(Problem::from(&error));
    }
    if response.status().is_success() || response.status().is_redirection() {
        refresh(exchange, &method);
    }
    Ok(response)
}

/// Sends a request to the route's backend, and cleans the answer's head.
pub(crate) async fn send(
    exchange: &RequestContext,
    found: &Match,
    request: Request<Body>,
    account: &mut RequestRecord,
) -> Result<Response<Body>, Problem> {
    let (upstreams, route) = (&exchange.shared.upstreams, &found.route);
    account.backend = Some(route.upstream.clone());
    let mut request = request.map(|body| account.count(body));
    account.span.mark(request.extensions_mut());
    let begun = Instant::now();
    let sending = upstreams.send(&route.upstream, &route.name, Purpose::Passthrough, request);
    let answer = account.expiry.during(sending).await;
    account.answered_upstream(begun.elapsed());
    let answer = answer.map_err(|denied| Problem::denied(&denied))?;
    let mut response = answer.map_err(|error| {
        account.blame(&error);
        Problem::from(&error)
    })?;
    // Ours, whatever the backend speaks: an answer without a length is framed by the engine then,
    // and one that breaks off is known by it.
    *response.version_mut() = Version::HTTP_11;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        hop_by_hop::strip_answer(response.status(), response.headers_mut());
        response.headers_mut().remove(TRANSFER_ENCODING);
    }
    response.headers_mut().remove(TRANSPORT);
    redirect::rewrite(response.headers_mut(), &route.upstream, exchange);
    Ok(response)
}

/// The request as the backend gets it.
pub(crate) fn request(
    connection: &Connection,
    exchange: &RequestContext,
    found: &Match,
    head: Parts,
    body: RequestBody,
    came: &Came,
) -> Result<Request<Body>, Problem> {
    // Only a socket of ours can refuse or ask clients that are not accepted yet: no backend sees them.
    if !came.entrant.is_let_in() {
        return Err(Problem::denied(&AuthError::Missing));
    }
    let upstream = &found.route.upstream;
    let pins = match upstream.connection_auth {
        ConnectionAuth::Close => None,
        ConnectionAuth::Pin => {
            connection.pins(&head, &exchange.in_force.config.server.trusted_proxies)
        }
    };
    let is_http1 = head.version <= Version::HTTP_11;
    let mut extensions = head.extensions;
    let mut spelling: Spelling = extensions.remove().unwrap_or_default();
    let mut headers = head.headers;
    hop_by_hop::strip(&mut headers);
    // The engine has answered it by now, or will when the body is asked for.
    headers.remove(EXPECT);
    if reserved_params::strip_cookies(&mut headers) {
        spelling.forget_name(&COOKIE);
    }
    let (peer, text) = (exchange.peer, &exchange.peer_text);
    forwarded::rebuild(&mut headers, peer, text, &exchange.client);
    if !headers.contains_key(HOST) && !exchange.host.value.is_empty() {
        // HTTP/1.0 may name it in the target alone; where it names none, the server's own address goes upstream.
        headers.insert(HOST, exchange.host.value.clone());
    }
    headers.insert(REQUEST_ID, exchange.id.value());
    identify(&mut headers, &mut spelling, exchange, came);
    let config = &exchange.in_force.config;
    let is_ours = |name: &HeaderName| {
        let csrf = found
            .route
            .auth
            .iter()
            .filter_map(|auth| auth.csrf.as_ref());
        config.identity_headers.contains(name)
            || csrf.map(|csrf| &csrf.header).any(|own| own == name)
    };
    for (name, spelled) in &config.spelled {
        // What came over HTTP/2 has no spelling.
        if headers.contains_key(name) && (!is_http1 || is_ours(name)) {
            spelling.set(spelled.as_bytes());
        }
    }
    let last_event_id = came.parameters.last_event_id.clone();
    // As EventSource: a client that has seen no id sends none.
    let last_event_id = last_event_id.filter(|id| found.bridged && !id.is_empty());
    if let Some(id) = last_event_id.and_then(|id| HeaderValue::try_from(id).ok()) {
        headers.entry(LAST_EVENT_ID).or_insert_with(|| {
            spelling.forget_name(&LAST_EVENT_ID);
            id
        });
    }
    let url = url(exchange, head.uri)?;
    let mut request = Request::new(body.upward(&exchange.in_force));
    *request.method_mut() = head.method;
    *request.uri_mut() = url;
    *request.headers_mut() = headers;
    if !spelling.is_empty() {
        request.extensions_mut().insert(spelling);
    }
    if let Some(pins) = pins {
        request.extensions_mut().insert(pins);
    }
    if upstream.balance.wants_address() {
        let client = &*exchange.client.ip;
        request
            .extensions_mut()
            .insert(ClientAddress(client.into()));
    }
    Ok(request)
}

/// Sends the identity to the backend, after every field that only passes for it was removed. A client cannot nominate away what
/// is added here.
fn identify(
    headers: &mut HeaderMap,
    spelling: &mut Spelling,
    exchange: &RequestContext,
    came: &Came,
) {
    let identity_headers = &exchange.in_force.config.identity_headers;
    for name in identity_headers {
        spelling.forget_name(name);
    }
    header_names::remove_aliases(headers, &exchange.in_force.config.identity_headers);
    let Some(admission) = came.entrant.admission() else {
        return;
    };
    if let Some(authorization) = admission.authorization() {
        spelling.forget_name(&AUTHORIZATION);
        headers.insert(AUTHORIZATION, authorization);
    }
    if let Some(ticketed) = &admission.ticketed {
        // Those alone that the ticket stands for: whatever else came beside it was not judged.
        for (name, value) in [
            (COOKIE, &ticketed.cookie),
            (AUTHORIZATION, &ticketed.authorization),
        ] {
            headers.remove(&name);
            spelling.forget_name(&name);
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
    for (name, value) in admission.fields(None) {
        headers.insert(name, value);
    }
}

/// Path and query as they go upstream; as they came, where nothing of them is ours and the path was canonical.
fn url(exchange: &RequestContext, came: Uri) -> Result<Uri, Problem> {
    if came.path() != &*exchange.path || came.query() != exchange.query.as_deref() {
        return parse(reserved_params::join(
            &exchange.path,
            exchange.query.as_deref(),
        ));
    }
    let url = came.into_parts().path_and_query.map(Uri::from);
    url.ok_or(Problem::from(RequestViolation::Target))
}

fn parse(url: String) -> Result<Uri, Problem> {
    Uri::try_from(url).map_err(|_| Problem::from(RequestViolation::Target))
}

/// A write that the backend took triggers the polls that it changes.
fn refresh(exchange: &RequestContext, method: &hyper::Method) {
    for (route, shared) in exchange
        .in_force
        .routes
        .refreshed_by(method, &exchange.path)
    {
        exchange.shared.hub.refresh(|target| {
            target.route.name == route.name
                && shared
                    .iter()
                    .all(|parameter| target.params.contains(parameter))
        });
    }
}
