//! Subscriptions go on as things are now: after a reload, another stage of a rollout, or newer credentials.

use std::sync::Arc;

use hyper::Method;
use tokio::time::Instant;

use super::auth::{Access, AuthState, claims_of, fits, may, still_fits};
use super::client::Person;
use super::context::{Context, Realm};
use super::credentials::Presented;
use super::subscription::Subscription;
use crate::config::{Rollout, Route};
use crate::error::{Code, Refusal};
use crate::hub::{Scope, Start, TopicKey};
use crate::policy::auth::{Authenticated, Identity};
use crate::policy::cors;
use crate::rollout::{Decision, TransportKind};

/// Whether the client's page may still connect: a page that is listed no longer loses its connection.
pub(super) fn admits_origin(cx: &Context, presented: &Presented) -> bool {
    let client = &cx.member().client;
    let Some(origin) = client.origin.as_ref().filter(|_| client.is_foreign) else {
        return true;
    };
    let cors = match cx.own_route() {
        Some(route) => route.cors.as_deref(),
        None if matches!(cx.realm, Realm::Namespace(_)) => {
            let socketio = cx.in_force.config.socketio.as_ref();
            socketio.and_then(|socketio| socketio.cors.as_deref())
        }
        // Its route is gone, and that is its error.
        None if cx.realm.is_stream() => return true,
        None => cx.rules().cors.as_deref(),
    };
    let public_url = cx.in_force.config.server.public_url.as_deref();
    let has_cookie = presented.cookie().is_some();
    cors::still_admits(origin, has_cookie, public_url, cors)
}

/// The user goes on by a newer admission. Returns the channels for which it does not suffice.
pub(super) fn renew(
    cx: &Context,
    presented: &Presented,
    subs: &mut [Subscription],
    admission: &Arc<Authenticated>,
) -> Vec<u32> {
    let mut ended = Vec::new();
    for sub in subs {
        let auth = &admission.found.auth.name;
        let others = others_by(cx, auth, sub);
        if (others.iter()).any(|other| fits(other, &admission.identity).is_err()) {
            ended.push(sub.ch);
            continue;
        }
        if sub.admitted_by(auth).is_none() {
            continue;
        }
        let route = sub.route().clone();
        let scope = sub.subscriber().target().scope;
        if may(&route, &admission.identity).is_err() || !still_fits(&route, scope, admission) {
            ended.push(sub.ch);
            continue;
        }
        let credentials = presented.verified(admission, claims_of(&route));
        sub.renew(admission.clone(), credentials);
    }
    ended
}

/// The channels of the user that the policy of this name has admitted.
pub(super) fn channels_by(cx: &Context, subs: &[Subscription], auth: &str) -> Vec<u32> {
    let is_theirs = |sub: &&Subscription| {
        sub.admitted_by(auth).is_some() || !others_by(cx, auth, sub).is_empty()
    };
    let theirs = subs.iter().filter(is_theirs);
    theirs.map(|sub| sub.ch).collect()
}

/// Routes that guard other readings of what a subscription reads, and ask by this policy which user it is.
fn others_by(cx: &Context, auth: &str, sub: &Subscription) -> Vec<Arc<Route>> {
    let url = &sub.subscriber().target().url;
    let found = cx.find(&Method::GET, url);
    let mut others = found.map_or_else(|_| Vec::new(), |(found, _)| found.others);
    others.retain(|other| other.auth.iter().any(|asked| *asked.name == *auth));
    others
}

/// A subscription goes on as its route is configured now.
///
/// # Errors
/// Why it ends.
pub(super) fn follow_route(
    cx: &Context,
    access: &mut Access,
    sub: &mut Subscription,
    now: Instant,
) -> Result<(), Refusal> {
    let old = sub.subscriber().target().clone();
    let removed = |_| Refusal::new(Code::RouteRemoved, "its route is gone");
    let (found, url) = cx.find(&Method::GET, &old.url).map_err(removed)?;
    let route = found.route.clone();
    let admission = match access.stands(cx, &route.auth) {
        AuthState::Unasked => None,
        AuthState::Known(admission) => {
            access.remember(cx, admission.clone());
            Some(admission)
        }
        AuthState::Denied(denied) => return Err(Refusal::from(&denied)),
        AuthState::Asks(_) => {
            // A user that the same policy has admitted stays until its authority has said otherwise.
            let names = route.auth.iter().map(|auth| &auth.name);
            let before = names
                .filter_map(|name| sub.admitted_by(name).cloned())
                .next();
            let unknown = || Refusal::new(Code::Unauthorized, "this route needs credentials now");
            Some(before.ok_or_else(unknown)?)
        }
    };
    let identity = admission.as_ref().map(|admission| &*admission.identity);
    if let Some(identity) = identity {
        may(&route, identity)?;
    }
    still_stands_at(cx, access, &found.others)?;
    let credentials = match &admission {
        Some(admission) => access.presented.verified(admission, claims_of(&route)),
        // Where no policy asks, a running subscription keeps the credentials that it began with.
        None if sub.admission().is_none() && old.scope != Scope::Public => {
            sub.subscriber().credentials()
        }
        None => access.presented.unverified(),
    };
    let person = identity.map_or(Person::Unknown(&credentials), Person::Known);
    let judged = cx.judged(admission.as_ref());
    let judged = judged.as_ref().map(|admission| &*admission.identity);
    let member = cx.member();
    let target = (member.client).target(found, url, member.number, person, judged);
    let target = target.map_err(|refusal| match refusal.code {
        Code::NotFound => removed(refusal),
        _ => refusal,
    })?;
    let is_moved = TopicKey::of(&target) != TopicKey::of(&old);
    sub.follow(route, admission.clone());
    if !is_moved {
        if let Some(admission) = admission {
            sub.renew(admission, credentials);
        }
        return Ok(());
    }
    let joined = cx.shared.hub.join(
        Arc::new(target),
        credentials,
        Start::Moved(sub.subscriber().position()),
        Some(sub.ch),
        member.signal.clone(),
    )?;
    sub.move_to(joined, now);
    Ok(())
}

/// Whether a subscription may still have what else its path can be read as, after a reload.
///
/// # Errors
/// It may not.
fn still_stands_at(cx: &Context, access: &Access, others: &[Arc<Route>]) -> Result<(), Refusal> {
    for other in others {
        let admission = match access.stands(cx, &other.auth) {
            AuthState::Unasked => continue,
            AuthState::Known(admission) => admission,
            AuthState::Denied(denied) => return Err(Refusal::from(&denied)),
            // An admitted user stays until an authority has said otherwise.
            AuthState::Asks(_) => cx.admission_of(&other.auth).ok_or_else(|| {
                Refusal::new(
                    Code::Unauthorized,
                    "another reading of the path needs credentials",
                )
            })?,
        };
        fits(other, &admission.identity)?;
    }
    Ok(())
}

/// What rollouts want of a session.
pub(super) enum Wanted {
    /// The whole of it leaves, by this rollout's decision; the route that it is counted for.
    Leave(Option<Arc<Rollout>>, Arc<str>, Decision),
    /// It stays where it is, on the legacy side.
    Poll,
    /// It stays, and these channels end.
    Stay(Vec<(u32, Arc<Route>, Decision)>),
}

/// Decides again which transport the client is to use: the whole session where nothing is left for it, else each subscription for
/// itself.
pub(super) fn judge_rollouts(
    cx: &Context,
    subs: &[Subscription],
    stages: &crate::rollout::Stages,
) -> Wanted {
    let judge = |route: &Route, identity: Option<&Identity>| {
        let decision = cx.member().client.decide(route, stages, identity);
        (decision.transport == TransportKind::Legacy).then_some(decision)
    };
    let refuses = |route: &Arc<Route>| {
        let known = cx.judged(cx.admission_of(&route.auth).as_ref());
        judge(route, known.as_ref().map(|known| &*known.identity))
    };
    let of_sub = |sub: &Subscription| {
        let known = cx.judged(sub.admission());
        let decision = judge(sub.route(), known.as_ref().map(|known| &*known.identity))?;
        Some((sub.ch, sub.route().clone(), decision))
    };
    let out: Vec<_> = subs.iter().filter_map(of_sub).collect();
    if let Realm::Namespace(_) = cx.realm {
        let rollout = cx.realm.namespace(&cx.in_force);
        let rollout = rollout.and_then(|namespace| namespace.rollout.clone());
        if rollout.is_none() {
            return Wanted::Stay(out);
        }
        let known = cx.judged(None);
        let known = known.as_ref().map(|known| &*known.identity);
        let client = &cx.member().client;
        let decision = client.decide_by(rollout.as_deref(), stages, known);
        return match decision.transport {
            TransportKind::Legacy if cx.realm.keeps_legacy(&cx.in_force) => Wanted::Poll,
            TransportKind::Legacy => Wanted::Leave(rollout, cx.realm.name().into(), decision),
            TransportKind::WebSocket => Wanted::Stay(Vec::new()),
        };
    }
    let bridged = || cx.in_force.routes.bridged();
    let is_stream = cx.realm.is_stream();
    let first = match out.first() {
        Some((_, route, decision)) => Some((route.clone(), decision.clone())),
        None if is_stream || !subs.is_empty() => None,
        None => {
            bridged().find_map(|route| refuses(route).map(|decision| (route.clone(), decision)))
        }
    };
    match first {
        Some((route, decision)) if is_stream || bridged().all(|route| refuses(route).is_some()) => {
            Wanted::Leave(route.rollout.clone(), route.name.clone(), decision)
        }
        _ => Wanted::Stay(out),
    }
}
