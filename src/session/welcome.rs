//! What a client is told first, and what its handshake has asked for.

use tokio::time::Instant;

use super::accepted::Mode;
use super::connection::Session;
use super::frame::{Frame, SubWish, Wants};
use super::namespace;
use crate::protocol::{Output, Tag};

/// It is known which user it is.
pub(super) fn welcome(session: &mut Session, now: Instant) {
    if let Some(hello) = session.access.hello.take() {
        greet(session, hello.mode, hello.judged_by, now);
    }
}

/// Says the first frame, and does what the handshake asked for.
pub(super) fn greet(session: &mut Session, mode: Mode, judged_by: u64, now: Instant) {
    let member = session.cx.member().clone();
    let rules = session.cx.rules();
    let (interval, timeout, max_subs) = (rules.ping_interval, rules.ping_timeout, rules.max_subs);
    let own = session.cx.admission_of(session.cx.own_auths());
    session.link.say(&Output::Welcome {
        conn: &member.id,
        node: &session.cx.shared.node,
        ping_ms: interval.as_millis() as u64,
        timeout_ms: timeout.as_millis() as u64,
        max_bytes: session.cx.max_message(),
        max_subs,
        auth_exp: own.and_then(|own| own.identity.expires),
    });
    // What changed between the handshake and the list of sessions did not wake this one. Only then the stream is asked for: by
    // what is in force now.
    session.recheck(now);
    if matches!(mode, Mode::Namespace(_)) && session.closing_until.is_none() {
        namespace::greet(session, now);
    }
    if let Mode::Single {
        found,
        url,
        after,
        last_event_id,
        ..
    } = mode
        && session.closing_until.is_none()
    {
        if session.cx.in_force.generation != judged_by {
            session.cx.follow_name(&url);
        }
        let wish = SubWish {
            after,
            last_event_id,
            ..SubWish::of(url.clone())
        };
        let frame = Frame::at(Wants::Sub(Tag::Number(0), wish), (found, url), judged_by);
        session.advance(frame, None, now);
    }
}
