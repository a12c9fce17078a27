//! Joins the topic that a `sub` names, for a client that may.

use std::sync::Arc;

use tokio::time::Instant;

use super::auth::claims_of;
use super::client::{Located, Person};
use super::context::Context;
use super::credentials::Presented;
use super::filter::Filter;
use super::frame::SubWish;
use super::subscription::Subscription;
use crate::error::{Code, Refusal};
use crate::event::{self, Position};
use crate::hub::Start;
use crate::policy::auth::Authenticated;
use crate::protocol::Tag;
use crate::rollout::TransportKind;

/// What a session brings to it.
pub(super) struct Joining<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) presented: &'a Presented,
    /// Those that the session has already.
    pub(crate) subscriptions: &'a [Subscription],
    /// The codec's name.
    pub(crate) protocol: &'static str,
}

impl Joining<'_> {
    /// Joins what a wish names, for a client that may; it is answered when the upstream is known to answer.
    ///
    /// # Errors
    /// Why not; nothing is joined then.
    pub(crate) fn join(
        self,
        (found, url): Located,
        id: Tag,
        wish: SubWish,
        admission: Option<Arc<Authenticated>>,
        now: Instant,
    ) -> Result<Subscription, Refusal> {
        let cx = self.cx;
        let member = cx.member();
        let client = &member.client;
        let route = found.route.clone();
        let identity = admission.as_ref().map(|admission| &*admission.identity);
        let credentials = match &admission {
            Some(admission) => self.presented.verified(admission, claims_of(&route)),
            None => self.presented.unverified(),
        };
        let person = identity.map_or(Person::Unknown(&credentials), Person::Known);
        let judged = cx.judged(admission.as_ref());
        let judged = judged.as_ref().map(|admission| &*admission.identity);
        let target = client.target(found, url, member.number, person, judged)?;
        let filter = match wish.filter.is_empty() {
            true => None,
            false => Some(Filter::new(wish.filter, &route).map_err(|_| {
                Refusal::new(Code::BadFrame, "the route does not allow to filter by that")
            })?),
        };
        let named = wish.after;
        let after = match &named {
            Some(after) => Some(Position::named(after).ok_or_else(|| {
                let detail = "`after` is no position: send the last `o`, or leave it out";
                Refusal::new(Code::BadFrame, detail)
            })?),
            None => None,
        };
        let start = match (after, wish.last_event_id) {
            (after, _) if wish.is_lost => Start::Lost(after),
            (Some(after), _) => Start::After(after),
            (None, Some(id)) => Start::LastEventId(id.into()),
            (None, None) => Start::Live,
        };
        if start != Start::Live {
            cx.shared.telemetry.sessions.resume_asked(&route.name);
        }
        let mut joined = cx.shared.hub.join(
            Arc::new(target),
            credentials,
            start,
            None,
            member.signal.clone(),
        )?;
        let ch = joined.subscriber.ch();
        if self.subscriptions.iter().any(|sub| sub.ch == ch) {
            return Err(Refusal::new(
                Code::Conflict,
                "this connection is subscribed there already",
            ));
        }
        if let (Some(after), Some(first)) = (&named, joined.prelude.first_mut())
            && matches!(first.kind, event::EventKind::Gap { .. })
        {
            *first = first.told_from(after);
        }
        let (telemetry, cohort) = (&cx.shared.telemetry, TransportKind::WebSocket.as_str());
        let meters = telemetry
            .sessions
            .route_meters(&route.name, self.protocol, cohort);
        Ok(Subscription::new(
            id, joined, route, filter, admission, meters, now,
        ))
    }
}
