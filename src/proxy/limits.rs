//! How much is taken on, and of which client: the checks that count.

use super::context::RequestContext;
use crate::config::RateLimit;
use crate::http::problem::Problem;
use crate::policy::Policies;
use crate::policy::auth::{Authenticated, Identity};
use crate::policy::rate_limit::{ConnectionPermit, Key, LimitKind, NO_ROUTE, TooManyConnections};

/// Takes one request, or one handshake, from what a policy allows.
pub(crate) fn count(
    exchange: &RequestContext,
    limit: &RateLimit,
    place: Policies<'_>,
    user: Option<&Identity>,
) -> Result<(), Problem> {
    let kind = match exchange.is_handshake {
        true => LimitKind::Connects,
        false => LimitKind::Requests,
    };
    let route = place.route.map_or(NO_ROUTE, |route| &route.name);
    let principal = user.map(Identity::principal);
    let remote = Key::remote(&exchange.client.ip);
    let key = Key::of(limit.by, principal.as_ref(), route, remote);
    let limiters = exchange.shared.limiters.of(limit);
    limiters.check(kind, key, 1).map_err(|exceeded| {
        exchange.shared.telemetry.edge.rate_limited(&limit.name);
        Problem::rate_limited(&limit.name, &exceeded)
    })
}

/// A seat among the connections of this address.
pub(crate) fn take_seat(
    exchange: &RequestContext,
    place: Policies<'_>,
) -> Result<Option<ConnectionPermit>, Problem> {
    let Some(limit) = place.rate_limit else {
        return Ok(None);
    };
    let address = exchange.client.ip.parse().ok();
    let taken = exchange.shared.limiters.of(limit).take_seat(None, address);
    taken.map(Some).map_err(|crowded| {
        exchange.shared.telemetry.edge.rate_limited(&limit.name);
        Problem::crowded(crowded)
    })
}

/// The same seat among the connections of this user.
pub(crate) fn count_for(
    exchange: &RequestContext,
    place: Policies<'_>,
    admission: &Authenticated,
    seat: &mut ConnectionPermit,
) -> Result<(), TooManyConnections> {
    let counted = seat.count_for(&admission.identity.principal());
    counted.inspect_err(|_| {
        let name = place.rate_limit.map_or("", |limit| &limit.name);
        exchange.shared.telemetry.edge.rate_limited(name);
    })
}

/// Handshakes of all clients together, for sockets of our own: in a storm some wait a moment, and the others get the time of
/// their retry.
pub(crate) async fn handshake(exchange: &RequestContext) -> Result<(), Problem> {
    let limit = exchange.in_force.config.server.limits.handshakes;
    let admitted = exchange.shared.handshakes.admit(limit).await;
    admitted.map_err(|retry| {
        let seconds = u32::try_from(retry.0.as_secs()).unwrap_or(u32::MAX).max(1);
        Problem::overloaded("handshakes", "too many connect at once; come back", seconds)
    })
}
