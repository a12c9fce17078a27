//! What the events of a namespace's client do.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::with_scope;
use crate::bindings::{BindingScope, BodyTemplate};
use crate::config::{Rule, RuleAction};
use crate::error::{Code, Refusal};
use crate::protocol::{ClientEvent, EventTag, Output, Req, Tag};
use crate::session::checks::CALLS;
use crate::session::connection::Session;
use crate::session::frame::{Frame, SubWish, Wants};
use crate::session::handle::Emission;
use crate::session::recovery::AskingEvent;
use crate::session::upstream_request::CallAnswer;

/// Bytes of arguments that are kept of an event that subscribes. A client that sends more does not come back.
const KEPT: usize = 4 * 1024;

/// Calls of one client that wait while as many as allowed are under way.
const WAITING: usize = 1_000;

/// Does what the rule of an event says.
pub(in crate::session) fn follow_event(session: &mut Session, event: &ClientEvent, now: Instant) {
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
    match &rule.action {
        RuleAction::Subscribe(_) => {
            let wish = wish(session, rule, args, attachments)?;
            if is_subscribed(session, &wish) {
                session.link.reply(&Output::Ok {
                    id: &tag,
                    sub: None,
                });
                return Ok(());
            }
            session.advance(Frame::new(Wants::Sub(tag, wish)), None, now);
        }
        RuleAction::Unsubscribe(template) => {
            expect_required(session, rule, args)?;
            let path = with_scope(session, args, attachments, |scope| template.path(scope))?;
            unsubscribe(session, &path)?;
            session.link.reply(&Output::Ok {
                id: &tag,
                sub: None,
            });
        }
        RuleAction::Call { method, path } => {
            expect_required(session, rule, args)?;
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

/// What an event wants that subscribes.
///
/// # Errors
/// The user may not, or the arguments lead nowhere.
pub(super) fn wish(
    session: &Session,
    rule: &Rule,
    args: &[Value],
    attachments: &[Bytes],
) -> Result<SubWish, Refusal> {
    expect_required(session, rule, args)?;
    let RuleAction::Subscribe(template) = &rule.action else {
        return Err(Refusal::new(Code::NotFound, "the event does not subscribe"));
    };
    let (path, filter) = with_scope(session, args, attachments, |scope| {
        Ok::<_, Refusal>((template.path(scope)?, rule.filters(scope)?))
    })?;
    // Without recovery there is nothing to ask again.
    let asked_by = session.cx.realm.has_positions().then(|| AskingEvent {
        name: rule.event.clone(),
        args: Value::from(args).to_string().into(),
    });
    let asked_by = asked_by.filter(|event| event.args.len() <= KEPT);
    Ok(SubWish {
        filter,
        asked_by: asked_by.map(Box::new),
        ..SubWish::of(path)
    })
}

/// Whether a path leads to what this canonical one names.
pub(super) fn is_at(session: &Session, path: &str, canonical: &str) -> bool {
    let found = session.cx.find(&Method::GET, path);
    found.is_ok_and(|(found, url)| *found.route.read_url(&url) == *canonical)
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
fn is_subscribed(session: &Session, wish: &SubWish) -> bool {
    let Ok((found, url)) = session.cx.find(&Method::GET, &wish.path) else {
        return false;
    };
    let url = found.route.read_url(&url);
    session.subscriptions.iter().any(|sub| {
        let target = sub.subscriber().target();
        target.route.name == found.route.name && target.url == *url && sub.wanted() == wish.filter
    })
}

/// Ends a subscription. To leave what is over, or was not joined, changes nothing.
fn unsubscribe(session: &mut Session, path: &str) -> Result<(), Refusal> {
    let (found, url) = session.cx.find(&Method::GET, path)?;
    let url = found.route.read_url(&url).into_owned();
    session.subscriptions.retain(|sub| {
        let target = sub.subscriber().target();
        target.route.name != found.route.name || target.url != url
    });
    Ok(())
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
    let bytes: usize = (state.waiting.iter())
        .map(|(request, _)| waiting(request))
        .sum();
    let most = (session.cx.in_force.config.socketio.as_ref()).map_or(0, |all| all.max_payload);
    if state.waiting.len() >= WAITING || bytes + waiting(&request) > most {
        let detail = "too many calls wait for their turn";
        return Err(Refusal::new(Code::RateLimited, detail));
    }
    state.waiting.push_back((request, now));
    Ok(())
}

/// Sends the calls on their way that have waited for others to end.
pub(in crate::session) fn call_waiting(session: &mut Session, now: Instant) {
    while session.closing_until.is_none()
        && has_free_call(session)
        && let Some(state) = &mut session.access.namespace
        && let Some((request, came)) = state.waiting.pop_front()
    {
        let frame = Frame {
            waited: now - came,
            ..Frame::new(Wants::Req(request))
        };
        session.advance(frame, None, now);
    }
}

/// A call was done as asked: tells all sockets of the user in the namespace, where its rule wants that; without a user its own.
pub(in crate::session) fn tell_reply(session: &mut Session, id: &Tag, answer: &CallAnswer) {
    let (Tag::Event(tag), Some(body)) = (id, answer.success()) else {
        return;
    };
    let Some(event) = &tag.reply else {
        return;
    };
    let Some(namespace) = session.cx.realm.namespace_name() else {
        return;
    };
    let emission = Emission {
        namespace: namespace.clone(),
        event: event.clone(),
        body: body.clone(),
    };
    emit(session, &emission);
    if let Some(owner) = session.cx.owner() {
        let sessions = &session.cx.shared.sessions;
        let user = owner.identity.principal();
        sessions.emit(session.cx.member().number, &user, &Arc::new(emission));
    }
}

/// Tells the client an event that is no topic's, where it is for its namespace.
pub(in crate::session) fn emit(session: &mut Session, emission: &Emission) {
    if session.cx.realm.namespace_name() == Some(&emission.namespace) {
        session.link.say(&Output::Emit {
            event: &emission.event,
            body: emission.body.kind(),
        });
    }
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
