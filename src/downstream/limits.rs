//! How much is taken on, and of whom: the stations of the edge that count.

use super::edge::{Entrant, Entry, Policies, Teller};
use super::exchange::Exchange;
use super::respond::Problem;
use crate::config::{LimitBy, RateLimit};
use crate::edge::auth::{Denied, Identity};
use crate::edge::rate_limit::{Crowded, Key, Kind, NO_ROUTE, Seat};

/// Limits that need not know who it is: by address, and by route.
pub fn by_place(exchange: &Exchange, policies: Policies<'_>) -> Result<(), Problem> {
    match policies.rate_limit {
        Some(limit) if limit.by != LimitBy::User => check(exchange, limit, policies, None),
        _ => Ok(()),
    }
}

/// A seat among the connections of this address, for a handshake: before anybody is asked who it is.
pub fn take_seat(exchange: &Exchange, policies: Policies<'_>) -> Result<Option<Seat>, Problem> {
    let Some(limit) = policies.rate_limit.filter(|_| exchange.is_handshake) else {
        return Ok(None);
    };
    let address = exchange.client.ip.parse().ok();
    let taken = exchange.shared.limiters.of(limit).take_seat(None, address);
    taken.map(Some).map_err(|crowded| {
        exchange.shared.telemetry.rate_limited(&limit.name);
        Problem::crowded(crowded)
    })
}

/// Who presents what is no good is nobody, and guesses from an address: by that it counts where others count by user.
pub fn of_denied(
    exchange: &Exchange,
    policies: Policies<'_>,
    denied: &Denied,
) -> Result<(), Problem> {
    match policies.rate_limit.filter(|_| denied.is_guess()) {
        Some(limit) if limit.by == LimitBy::User => check(exchange, limit, policies, None),
        _ => Ok(()),
    }
}

/// Limits by user, and a seat among the connections of this user.
pub fn by_user(
    exchange: &Exchange,
    policies: Policies<'_>,
    teller: Teller,
    entrant: &mut Entrant,
) -> Result<(), Problem> {
    let is_gone = matches!(entrant.entry, Entry::TurnedAway(_));
    let Some(limit) = policies.rate_limit.filter(|_| !is_gone) else {
        return Ok(());
    };
    let principal = entrant.identity().map(Identity::principal);
    if limit.by == LimitBy::User {
        check(exchange, limit, policies, principal.as_ref())?;
    }
    // Who is still to say who they are takes their seat when they have.
    let (Some(principal), Some(seat)) = (principal, &mut entrant.seat) else {
        return Ok(());
    };
    let counted = seat.count_for(&principal);
    counted.or_else(|crowded: Crowded| {
        exchange.shared.telemetry.rate_limited(&limit.name);
        match teller {
            Teller::Close => {
                entrant.entry = Entry::TurnedAway(4029);
                Ok(())
            }
            Teller::Status => Err(Problem::crowded(crowded)),
        }
    })
}

/// Handshakes of all clients together, for sockets of our own: in a storm some wait a moment, and the others are told when.
pub async fn handshake(exchange: &Exchange) -> Result<(), Problem> {
    let limit = exchange.in_force.config.server.limits.handshakes;
    let admitted = exchange.shared.handshakes.admit(limit).await;
    admitted.map_err(|retry| {
        let seconds = u32::try_from(retry.0.as_secs()).unwrap_or(u32::MAX).max(1);
        Problem::overloaded("handshakes", "too many connect at once; come back", seconds)
    })
}

fn check(
    exchange: &Exchange,
    limit: &RateLimit,
    policies: Policies<'_>,
    principal: Option<&[u8; 32]>,
) -> Result<(), Problem> {
    let kind = match exchange.is_handshake {
        true => Kind::Connects,
        false => Kind::Requests,
    };
    let route = policies.route.map_or(NO_ROUTE, |route| &route.name);
    let key = Key::of(limit.by, principal, route, Key::remote(&exchange.client.ip));
    let limiters = exchange.shared.limiters.of(limit);
    limiters.check(kind, key, 1).map_err(|exceeded| {
        exchange.shared.telemetry.rate_limited(&limit.name);
        Problem::rate_limited(&limit.name, &exceeded)
    })
}
