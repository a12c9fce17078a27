//! A client of Socket.IO names its session of before: it is subscribed again behind what it has, and only then told whether that has
//! worked.

use serde_json::Value;
use tokio::time::Instant;

use super::{events, with_scope};
use crate::error::Side;
use crate::event::Position;
use crate::protocol::{Output, Tag};
use crate::session::connection::Session;
use crate::session::frame::{Frame, SubWish, Wants};
use crate::session::recovery::{
    AskingEvent, ComingBack, Offer, Record, RecordedSubscription, SecretId,
};
use crate::session::subscription::Subscription;

/// Begins with what the client offers. False where there is nothing to come back to.
pub(crate) fn begin(session: &mut Session, offer: &Offer, now: Instant) -> bool {
    let Some(coming) = find(session, offer, now) else {
        return false;
    };
    let wishes = coming.wishes();
    session.access.namespace.get_or_insert_default().coming_back = Some(Box::new(coming));
    for (index, (sub, place)) in wishes.into_iter().enumerate() {
        let id = Tag::Number(index as u64);
        match wish_again(session, &sub) {
            Some(wish) => {
                let after = place.map(|place| place.to_string());
                let wish = SubWish { after, ..wish };
                session.advance(Frame::new(Wants::Sub(id, wish)), None, now);
            }
            None => note(session, &id, None, now),
        }
    }
    finish_when_there(session, now);
    true
}

/// What a client asks for anew that had this subscription: as the rules in force have it for the user of now; `None` where they do
/// not give it any more.
fn wish_again(session: &Session, sub: &RecordedSubscription) -> Option<SubWish> {
    let namespace = session.cx.realm.namespace(&session.cx.in_force)?;
    let wish = match &sub.asked_by {
        Some(event) => {
            let rule = namespace.on.iter().find(|rule| rule.event == event.name)?;
            let args: Vec<Value> = serde_json::from_str(&event.args).ok()?;
            events::wish(session, rule, &args, &[]).ok()?
        }
        None => {
            let mut templates = namespace.subscribe.iter();
            let path = templates.find_map(|template| {
                let path = with_scope(session, &[], &[], |scope| template.path(scope)).ok()?;
                events::is_at(session, &path, &sub.path).then_some(path)
            })?;
            SubWish::of(path)
        }
    };
    events::is_at(session, &wish.path, &sub.path).then_some(wish)
}

fn find(session: &mut Session, offer: &Offer, now: Instant) -> Option<ComingBack> {
    let id = SecretId::parse(&offer.pid)?;
    let named = match &offer.offset {
        Some(offset) => Some(Position::named(offset)?),
        None => None,
    };
    let name = session.cx.realm.namespace_name()?;
    let user = session.cx.owner().map(|owner| owner.identity.principal());
    let sessions = &session.cx.shared.sessions;
    let fits = |record: &Record| record.namespace == **name && record.user == user;
    let found = sessions.recoveries.take(&id, now, fits)?;
    if let Some(number) = found.still_runs {
        sessions.supersede(number);
    }
    ComingBack::new(id, found.record, named)
}

/// This event has asked for a subscription.
pub(crate) fn note_event(session: &Session, ch: u32, event: Option<Box<AskingEvent>>) {
    let state = session.access.namespace.as_ref();
    let recoverable = state.and_then(|state| state.recoverable.as_ref());
    if let (Some(recoverable), Some(event)) = (recoverable, event) {
        recoverable.record().note_event(ch, *event);
    }
}

/// One of the subscriptions is there, by its number among them; `None`: it cannot be.
pub(crate) fn note(session: &mut Session, tag: &Tag, ch: Option<u32>, now: Instant) {
    let Tag::Number(index) = tag else {
        return;
    };
    let state = session.access.namespace.as_mut();
    let Some(coming) = state.and_then(|state| state.coming_back.as_mut()) else {
        return;
    };
    let has_all = |sub: &&Subscription| Some(sub.ch) == ch && !sub.has_lost();
    let found = session.subscriptions.iter().find(has_all);
    coming.note(*index, found.map(|sub| sub.ch));
    finish_when_there(session, now);
}

/// Answers the CONNECT when all subscriptions are there, or cannot be.
fn finish_when_there(session: &mut Session, now: Instant) {
    let Some(state) = session.access.namespace.as_mut() else {
        return;
    };
    let Some(mut coming) = state.coming_back.take_if(|coming| coming.is_complete()) else {
        return;
    };
    if session.closing_until.is_some() {
        return;
    }
    match coming.recovered() {
        Some(record) => {
            let (sid, pid) = (record.sid.clone(), coming.id.text());
            let number = session.cx.member().number;
            let recoveries = &session.cx.shared.sessions.recoveries;
            let recoverable = recoveries.enter(coming.id, record, number);
            state.recoverable = Some(recoverable);
            session.link.say(&Output::Connected {
                sid: &sid,
                pid: Some(&pid),
            });
        }
        None => {
            session.subscriptions.clear();
            super::begin(session, Some(&coming.missed()), now);
        }
    }
}

/// Lets the client come back after this end, or forgets its session.
pub(crate) fn part(session: &mut Session) {
    let state = session.access.namespace.as_mut();
    let Some(recoverable) = state.and_then(|state| state.recoverable.take()) else {
        return;
    };
    let may_come_back = match session.life.ended_by {
        None => true,
        Some((Side::Downstream, code)) => code != 1000,
        Some((_, code)) => matches!(code, 4100..=4299 | 4400..=4499 | 1011),
    };
    if may_come_back {
        recoverable.wait(session.cx.shared.hub.reserve(), Instant::now());
    }
}

/// Begins the record of a new session. Returns the secret id by which its client comes back.
pub(crate) fn enter(session: &mut Session, sid: &str) -> Option<String> {
    let name = session.cx.realm.namespace_name()?;
    let id = SecretId::random()?;
    let user = session.cx.owner().map(|owner| owner.identity.principal());
    let record = Record {
        namespace: name.to_string(),
        sid: sid.to_owned(),
        user,
        ..Record::default()
    };
    let number = session.cx.member().number;
    let recoveries = &session.cx.shared.sessions.recoveries;
    let recoverable = recoveries.enter(id, record, number);
    session.access.namespace.get_or_insert_default().recoverable = Some(recoverable);
    Some(id.text())
}
