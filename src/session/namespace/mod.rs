//! One namespace of a Socket.IO client: what it joins when it connects, and what its events do.

pub(super) mod coming_back;
mod events;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

pub(super) use events::{call_waiting, emit, follow_event, tell_reply};

use super::connection::Session;
use super::context::Realm;
use super::frame::{Frame, SubWish, Wants};
use super::recovery::{Missed, Offer};
use crate::bindings::BindingScope;
use crate::config::{Legacy, SocketIo};
use crate::error::{Code, Refusal};
use crate::event::End;
use crate::policy::auth::Identity;
use crate::protocol::socketio::packet;
use crate::protocol::{Connect, Output, ResBody, Tag};

/// The client's CONNECT. Returns the token that it brings.
pub(in crate::session) fn connect(session: &mut Session, connect: Connect) -> Option<String> {
    let state = session.access.namespace.get_or_insert_default();
    state.csrf = connect.csrf;
    let offset = connect.offset;
    state.offer = connect.pid.map(|pid| Offer { pid, offset });
    connect.token
}

/// The client may join: it comes back to its session of before, or begins a new one.
pub(in crate::session) fn greet(session: &mut Session, now: Instant) {
    let state = session.access.namespace.get_or_insert_default();
    let offer = state.offer.take();
    let offer = offer.filter(|_| session.cx.realm.has_positions());
    let Some(offer) = offer else {
        return begin(session, None, now);
    };
    if !coming_back::begin(session, &offer, now) {
        begin(session, Some(&Missed::of(&offer)), now);
    }
}

/// Begins a new session: says so, and does what the namespace wants done first.
pub(in crate::session) fn begin(session: &mut Session, missed: Option<&Missed>, now: Instant) {
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
pub(in crate::session) fn refuse_sub(
    session: &mut Session,
    id: &Tag,
    path: &str,
    refusal: &Refusal,
    now: Instant,
) {
    if matches!(id, Tag::Event(_)) {
        return session.link.refuse(id, refusal);
    }
    if session.access.is_coming_back() {
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
pub(in crate::session) fn left(session: &mut Session, now: Instant) {
    if let Some(state) = &mut session.access.namespace {
        state.recoverable = None;
    }
    session.closed(now);
}

/// Where a client goes that its rollout sends away, in the word of `drain`.
pub(in crate::session) fn legacy_side(session: &Session) -> &'static str {
    let socketio = session.cx.in_force.config.socketio.as_ref();
    match (&session.cx.realm, socketio) {
        (Realm::Namespace(_), Some(socketio)) if socketio.legacy_route.is_some() => "legacy",
        (Realm::Namespace(_), Some(socketio)) if socketio.keeps_legacy() => "polling",
        _ => "native",
    }
}

/// Why it does, in the word that clients of Socket.IO know.
pub(in crate::session) fn cause(session: &Session, why: &'static str) -> &'static str {
    match (&session.cx.realm, why) {
        (Realm::Namespace(_), "killed") => "kill",
        _ => why,
    }
}

/// Lets a client that polls go on over a WebSocket, or keeps it where it is.
pub(in crate::session) fn let_upgrade(session: &Session, may: bool) {
    match &session.cx.realm {
        Realm::Namespace(joined) if may => joined.upgrade.open(),
        Realm::Namespace(joined) => joined.upgrade.shut(),
        Realm::Every | Realm::Stream(_) => {}
    }
}

/// What templates know here.
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
pub(in crate::session) fn leave(session: &mut Session, code: u16) -> u16 {
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
    // It connects again, and meets the other transport, or the other server.
    let comes_back = |socketio: &Arc<SocketIo>| {
        socketio.legacy == Legacy::Polling || socketio.legacy_route.is_some()
    };
    let comes_back = legacy.is_some_and(comes_back);
    match code {
        1000 => {}
        // What is no packet ends the connection, as in the reference server.
        4001..=4099 if session.access.hello.is_none() => {}
        4300..=4399 if !comes_back => {}
        _ => return code,
    }
    session.link.push(packet::disconnect(&joined.name).into());
    1000
}

/// The word and the status of a refusal that closes with this code.
fn refused_by(code: u16) -> (Code, u16) {
    match code {
        4003 => (Code::Forbidden, 403),
        4004 => (Code::NotFound, 404),
        4029 | 4129 => (Code::RateLimited, 429),
        4300..=4399 => (Code::Legacy, 403),
        4401 => (Code::TokenExpired, 401),
        4001 | 4403 => (Code::Unauthorized, 401),
        4200 => (Code::Draining, 503),
        4000 => (Code::BadFrame, 400),
        _ => (Code::Internal, 503),
    }
}
