//! One namespace of a Socket.IO client: what it joins when it connects, and what its events do.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::checks::CALLS;
use super::connection::Session;
use super::context::Realm;
use super::frame::{Frame, SubWish, Wants};
use super::handle::Emission;
use super::recovery::coming_back::{self, Offer};
use super::upstream_request::{CallAnswer, kind_of};
use crate::bindings::{BindingScope, BodyTemplate};
use crate::config::{Legacy, Rule, RuleAction};
use crate::error::{Code, Refusal};
use crate::event::{End, Position};
use crate::json::Scalar;
use crate::policy::auth::Identity;
use crate::protocol::socketio::packet;
use crate::protocol::{ClientEvent, Connect, EventTag, Output, Req, ResBody, Tag};

/// Calls of one client that wait while as many as allowed are under way.
const WAITING: usize = 1_000;

/// What a client has missed that could not come back to its session.
pub(super) struct Missed {
    /// How far it had read each path, where that is known.
    pub(super) places: Vec<(String, Option<Position>)>,
    /// The position that it has named.
    pub(super) named: Option<Position>,
}

impl Missed {
    fn from(&self, path: &str) -> Option<Position> {
        let place = self.places.iter().find(|(known, _)| known == path);
        place.map_or(self.named, |(_, place)| *place)
    }
}

/// The client's CONNECT. Returns the token that it brings.
pub(super) fn connect(session: &mut Session, connect: Connect) -> Option<String> {
    let state = session.access.namespace.get_or_insert_default();
    state.csrf = connect.csrf;
    let offset = connect.offset;
    state.offer = connect.pid.map(|pid| Offer { pid, offset });
    connect.token
}

/// The client may join: it comes back to its session of before, or begins a new one.
pub(super) fn greet(session: &mut Session, now: Instant) {
    let state = session.access.namespace.get_or_insert_default();
    let offer = state.offer.take();
    let offer = offer.filter(|_| session.cx.realm.has_positions());
    let Some(offer) = offer else {
        return begin(session, None, now);
    };
    if !coming_back::begin(session, &offer, now) {
        let missed = Missed {
            places: Vec::new(),
            named: offer.offset.as_deref().and_then(Position::named),
        };
        begin(session, Some(&missed), now);
    }
}

/// Begins a new session: says so, and does what the namespace wants done first.
pub(super) fn begin(session: &mut Session, missed: Option<&Missed>, now: Instant) {
    let Some(namespace) = session.cx.realm.namespace(&session.cx.in_force).cloned() else {
        return session.close(4201, "", now);
    };
    let sid = format!("{:032x}", fastrand::u128(..));
    let pid = match session.cx.realm.has_positions() {
        true => coming_back::enter(session, &sid),
        false => None,
    };
    session.link.say(&Output::Connected {
        sid: &sid,
        pid: pid.as_deref(),
    });
    if let Some(greet) = &namespace.greet {
        let body = with_scope(session, &[], &[], |scope| {
            let body = greet.body.as_ref()?;
            serde_json::to_vec(&body.value(scope)).ok()
        });
        let body = body.as_deref().map_or(ResBody::Empty, ResBody::Json);
        let event = &greet.event;
        session.link.say(&Output::Emit { event, body });
    }
    for template in &namespace.subscribe {
        match with_scope(session, &[], &[], |scope| template.path(scope)) {
            Ok(path) => {
                let from = missed.and_then(|missed| missed.from(&path));
                let wish = SubWish {
                    after: from.map(|from| from.to_string()),
                    is_lost: missed.is_some(),
                    ..SubWish::of(path)
                };
                session.advance(Frame::new(Wants::Sub(Tag::None, wish)), None, now);
            }
            Err(refusal) => refuse_sub(session, &Tag::None, template.as_str(), &refusal, now),
        }
        if session.closing_until.is_some() {
            return;
        }
    }
}

/// Says that a subscription is not there: to the event that has asked for it, or, where none has, by the word for its end.
pub(super) fn refuse_sub(
    session: &mut Session,
    id: &Tag,
    path: &str,
    refusal: &Refusal,
    now: Instant,
) {
    if matches!(id, Tag::Event(_)) {
        return session.link.refuse(id, refusal);
    }
    if coming_back::is_under_way(session) {
        return coming_back::note(session, id, None, now);
    }
    let end = End {
        code: refusal.code,
        status: refusal.status,
        retry_ms: refusal.retry_ms,
        is_final: false,
    };
    let end = &end;
    session.link.say(&Output::End { ch: 0, path, end });
}

/// The client leaves the namespace: it does not come back to this session.
pub(super) fn left(session: &mut Session, now: Instant) {
    if let Some(state) = &mut session.access.namespace {
        state.recoverable = None;
    }
    session.closed(now);
}

/// Where a client goes that its rollout sends away, in the word of `drain`.
pub(super) fn legacy_side(session: &Session) -> &'static str {
    let socketio = session.cx.in_force.config.socketio.as_ref();
    let polls = socketio.is_some_and(|socketio| socketio.legacy == Legacy::Polling);
    match session.cx.realm {
        Realm::Namespace(_) if polls => "polling",
        _ => "native",
    }
}

/// Why it does, in the word that clients of Socket.IO know.
pub(super) fn cause(session: &Session, why: &'static str) -> &'static str {
    match (&session.cx.realm, why) {
        (Realm::Namespace(_), "killed") => "kill",
        _ => why,
    }
}

/// Lets a client that polls go on over a WebSocket, or keeps it where it is.
pub(super) fn let_upgrade(session: &Session, may: bool) {
    match &session.cx.realm {
        Realm::Namespace(joined) if may => joined.upgrade.open(),
        Realm::Namespace(joined) => joined.upgrade.shut(),
        Realm::Every | Realm::Stream(_) => {}
    }
}

/// Does what the rule of an event says.
pub(super) fn follow_event(session: &mut Session, event: &ClientEvent, now: Instant) {
    let Some(namespace) = session.cx.realm.namespace(&session.cx.in_force).cloned() else {
        return;
    };
    let rule = namespace.on.iter().find(|rule| *rule.event == *event.name);
    let Some(rule) = rule else {
        let tag = Tag::Event(Box::new(EventTag {
            ack: event.ack,
            event: event.name.as_str().into(),
            error: None,
            reply: None,
        }));
        let refusal = Refusal::new(Code::NotFound, "no rule is there for this event");
        return session.link.refuse(&tag, &refusal);
    };
    let tag = Tag::Event(Box::new(EventTag {
        ack: event.ack,
        event: rule.event.clone(),
        error: rule.error.clone(),
        reply: rule.reply.clone(),
    }));
    if let Err(refusal) = do_rule(session, rule, event, tag.clone(), now) {
        session.link.refuse(&tag, &refusal);
    }
}

fn do_rule(
    session: &mut Session,
    rule: &Rule,
    event: &ClientEvent,
    tag: Tag,
    now: Instant,
) -> Result<(), Refusal> {
    let (args, attachments) = (&event.args[..], &event.attachments[..]);
    expect_required(session, rule, args)?;
    match &rule.action {
        RuleAction::Subscribe(template) => {
            let (path, filter) = with_scope(session, args, attachments, |scope| {
                Ok::<_, Refusal>((template.path(scope)?, rule.filters(scope)?))
            })?;
            if is_subscribed(session, &path, &filter) {
                session.link.reply(&Output::Ok {
                    id: &tag,
                    sub: None,
                });
                return Ok(());
            }
            let wish = SubWish {
                filter,
                ..SubWish::of(path)
            };
            session.advance(Frame::new(Wants::Sub(tag, wish)), None, now);
        }
        RuleAction::Unsubscribe(template) => {
            let path = with_scope(session, args, attachments, |scope| template.path(scope))?;
            unsubscribe(session, &path)?;
            session.link.reply(&Output::Ok {
                id: &tag,
                sub: None,
            });
        }
        RuleAction::Call { method, path } => {
            let request = with_scope(session, args, attachments, |scope| {
                let body = body_of(rule, method, scope);
                Ok::<_, Refusal>((path.path(scope)?, body))
            })?;
            let (path, (body, is_binary)) = request;
            call_when_free(
                session,
                Req {
                    id: tag,
                    method: method.to_string(),
                    path,
                    headers: csrf_headers(session),
                    body,
                    is_binary,
                    key: None,
                },
                now,
            )?;
        }
    }
    Ok(())
}

/// Judges what a rule requires of the user.
fn expect_required(session: &Session, rule: &Rule, args: &[Value]) -> Result<(), Refusal> {
    let Some(required) = &rule.require else {
        return Ok(());
    };
    let required = with_scope(session, args, &[], |scope| required.resolve(scope));
    let forbidden = |detail: String| Refusal::new(Code::Forbidden, detail);
    let user = session.cx.owner();
    let user = user.ok_or_else(|| forbidden("no user is known here".into()))?;
    let fits = user.identity.fits(&required);
    fits.map_err(|unfit| forbidden(unfit.detail().into_owned()))
}

/// Whether the client has this subscription already: to join once more changes nothing.
fn is_subscribed(session: &Session, path: &str, filter: &[(String, Vec<Scalar>)]) -> bool {
    let Ok((found, url)) = session.cx.find(&Method::GET, path) else {
        return false;
    };
    let url = found.route.read_url(&url);
    session.subscriptions.iter().any(|sub| {
        let target = sub.subscriber().target();
        target.route.name == found.route.name && target.url == *url && sub.wanted() == *filter
    })
}

fn unsubscribe(session: &mut Session, path: &str) -> Result<(), Refusal> {
    let (found, url) = session.cx.find(&Method::GET, path)?;
    let url = found.route.read_url(&url).into_owned();
    let before = session.subscriptions.len();
    session.subscriptions.retain(|sub| {
        let target = sub.subscriber().target();
        target.route.name != found.route.name || target.url != url
    });
    match session.subscriptions.len() < before {
        true => Ok(()),
        false => Err(Refusal::new(Code::NotFound, "this was not subscribed to")),
    }
}

/// Sends a call on its way, or lets it wait for its turn.
fn call_when_free(session: &mut Session, request: Req, now: Instant) -> Result<(), Refusal> {
    let is_free = has_free_call(session);
    let state = session.access.namespace.get_or_insert_default();
    if is_free && state.waiting.is_empty() {
        session.advance(Frame::new(Wants::Req(request)), None, now);
        return Ok(());
    }
    let waiting = |request: &Req| request.body.as_ref().map_or(0, Bytes::len);
    let bytes: usize = state.waiting.iter().map(waiting).sum();
    let most = (session.cx.in_force.config.socketio.as_ref()).map_or(0, |all| all.max_payload);
    if state.waiting.len() >= WAITING || bytes + waiting(&request) > most {
        let detail = "too many calls wait for their turn";
        return Err(Refusal::new(Code::RateLimited, detail));
    }
    state.waiting.push_back(request);
    Ok(())
}

/// Sends the calls on their way that have waited for others to end.
pub(super) fn call_waiting(session: &mut Session, now: Instant) {
    while session.closing_until.is_none()
        && has_free_call(session)
        && let Some(state) = &mut session.access.namespace
        && let Some(request) = state.waiting.pop_front()
    {
        session.advance(Frame::new(Wants::Req(request)), None, now);
    }
}

/// A call was done as asked: tells all sockets of the user in the namespace, where its rule wants that; without a user its own.
pub(super) fn tell_reply(session: &mut Session, id: &Tag, answer: &CallAnswer) {
    let (Tag::Event(tag), Some(body)) = (id, answer.success()) else {
        return;
    };
    let Some(event) = &tag.reply else {
        return;
    };
    let emission = Emission {
        event: event.clone(),
        body: body.clone(),
    };
    emit(session, &emission);
    if let Some(owner) = session.cx.owner() {
        let sessions = &session.cx.shared.sessions;
        let user = owner.identity.principal();
        sessions.emit(session.cx.member(), &user, &Arc::new(emission));
    }
}

/// Tells the client an event that is no topic's.
pub(super) fn emit(session: &mut Session, emission: &Emission) {
    session.link.say(&Output::Emit {
        event: &emission.event,
        body: kind_of(&emission.body),
    });
}

/// What CONNECT brought counts under the name that each policy wants it by.
fn csrf_headers(session: &Session) -> Vec<(String, String)> {
    let token = session
        .access
        .namespace
        .as_ref()
        .and_then(|state| state.csrf.as_ref());
    let Some(token) = token else {
        return Vec::new();
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    let auths = session.cx.in_force.config.auths.values();
    for name in auths.filter_map(|auth| Some(auth.csrf.as_ref()?.header.as_str())) {
        if !headers.iter().any(|(known, _)| known == name) {
            headers.push((name.to_owned(), token.clone()));
        }
    }
    headers
}

fn with_scope<T>(
    session: &Session,
    args: &[Value],
    attachments: &[Bytes],
    resolve: impl FnOnce(&BindingScope<'_>) -> T,
) -> T {
    let owner = session.cx.owner();
    let identity: Option<&Identity> = owner.as_ref().map(|owner| &*owner.identity);
    let params = match &session.cx.realm {
        Realm::Namespace(joined) => &joined.params[..],
        _ => &[],
    };
    resolve(&BindingScope {
        args,
        attachments,
        params,
        user: identity.map(|identity| identity.user.as_str()),
        tenant: identity.and_then(|identity| identity.tenant.as_deref()),
        claims: identity.map(|identity| &identity.claims),
    })
}

/// How a namespace's socket ends where the session would close: by a word of its own, or with its whole connection. Returns
/// what the transport is closed with.
pub(super) fn leave(session: &mut Session, code: u16) -> u16 {
    let Realm::Namespace(joined) = session.cx.realm.clone() else {
        return code;
    };
    if session.access.hello.is_some() && code != 4000 {
        let (word, status) = refused_by(code);
        session.link.say(&Output::Refused {
            code: word,
            status,
            close: code,
            message: word.as_str(),
        });
        return 1000;
    }
    let legacy = session.cx.in_force.config.socketio.as_ref();
    let polls_on = legacy.is_some_and(|socketio| socketio.legacy == Legacy::Polling);
    match code {
        1000 => {}
        4000..=4099 if session.access.hello.is_none() => {}
        4300..=4399 if !polls_on => {}
        _ => return code,
    }
    session.link.push(packet::disconnect(&joined.name).into());
    1000
}

/// The word and the status of a refusal that closes with this code.
fn refused_by(code: u16) -> (Code, u16) {
    match code {
        4003 => (Code::Forbidden, 403),
        4029 | 4129 => (Code::RateLimited, 429),
        4300..=4399 => (Code::Legacy, 403),
        4401 => (Code::TokenExpired, 401),
        4001 | 4403 => (Code::Unauthorized, 401),
        4200 => (Code::Draining, 503),
        4000 => (Code::BadFrame, 400),
        _ => (Code::Internal, 503),
    }
}

/// The body of a call, and whether it is bytes.
fn body_of(rule: &Rule, method: &Method, scope: &BindingScope<'_>) -> (Option<Bytes>, bool) {
    let first = BodyTemplate::first_argument();
    let body = match (&rule.body, method) {
        (Some(body), _) => body,
        (None, &Method::POST | &Method::PUT | &Method::PATCH) if !scope.args.is_empty() => &first,
        (None, _) => return (None, false),
    };
    if let Some(bytes) = body.bytes(scope) {
        return (Some(bytes), true);
    }
    let json = serde_json::to_vec(&body.value(scope)).ok();
    (json.map(Bytes::from), false)
}

/// Whether one call more may be under way.
fn has_free_call(session: &Session) -> bool {
    session.calls.len() + session.access.reqs_asked() < CALLS
}
