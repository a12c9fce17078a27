//! How much is taken on, and of whom: the stations of the edge that count.

use std::net::IpAddr;

use super::edge::{Entrant, Policies};
use super::exchange::Exchange;
use super::offer::Offer;
use super::respond::Problem;
use crate::config::{LimitBy, RateLimit};
use crate::edge::auth::Identity;
use crate::edge::rate_limit::{Crowded, Key, Kind};

/// Limits that need not know who it is: by address, and by route.
pub fn by_place(exchange: &Exchange, policies: Policies<'_>, route: &str) -> Result<(), Problem> {
    match policies.rate_limit {
        Some(limit) if limit.by != LimitBy::User => check(exchange, limit, None, route),
        _ => Ok(()),
    }
}

/// Limits by user, and a place among the connections of this user and this address.
pub fn by_user(
    exchange: &Exchange,
    policies: Policies<'_>,
    route: &str,
    offer: Option<&Offer>,
    entrant: &mut Entrant,
) -> Result<(), Problem> {
    let Some(limit) = policies.rate_limit.filter(|_| entrant.close.is_none()) else {
        return Ok(());
    };
    if limit.by == LimitBy::User {
        check(exchange, limit, entrant.identity(), route)?;
    }
    let Some(offer) = offer else {
        return Ok(());
    };
    let user = entrant.identity().map(Identity::principal);
    let limiters = exchange.shared.limiters.of(limit);
    match limiters.take_place(user.as_ref(), address(exchange)) {
        Ok(place) => entrant.place = Some(place),
        Err(crowded) => {
            exchange.shared.telemetry.rate_limited(&limit.name);
            match crowded {
                Crowded::User if offer.json => entrant.close = Some(4029),
                crowded => return Err(Problem::crowded(crowded)),
            }
        }
    }
    Ok(())
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
    identity: Option<&Identity>,
    route: &str,
) -> Result<(), Problem> {
    let kind = match exchange.is_handshake {
        true => Kind::Connects,
        false => Kind::Requests,
    };
    let key = match (limit.by, identity) {
        (LimitBy::Route, _) => Key::route(route),
        (LimitBy::User, Some(identity)) => Key::user(&identity.principal()),
        (LimitBy::Ip | LimitBy::User, _) => address(exchange).map_or(Key::EVERYBODY, Key::address),
    };
    let limiters = exchange.shared.limiters.of(limit);
    limiters.check(kind, key, 1).map_err(|exceeded| {
        exchange.shared.telemetry.rate_limited(&limit.name);
        Problem::rate_limited(&limit.name, &exceeded)
    })
}

/// `None` where a proxy on a unix socket told none.
fn address(exchange: &Exchange) -> Option<IpAddr> {
    exchange.client.ip.parse().ok()
}
