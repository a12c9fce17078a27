//! The servers of one upstream: which one a request goes to, and whether it goes at all.
//!
//! Two sources of knowledge: what the servers answer ([`outlier_detection`]) and what they say when they are asked
//! ([`health_state`]). Streams and tunnels stay where they are, whatever becomes known of their server.

mod consistent_hash;
mod hash_key;
mod health_checker;
mod health_state;
mod in_flight;
mod limits;
mod load_balancer;
mod outlier_detection;
mod retry_budget;
mod server;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::http::request::Parts;

use crate::config::{self, Balance, ConnectionAuth, Upstream};
use crate::telemetry::Telemetry;
use crate::upstream::Purpose;
use crate::upstream::pool::Pool;
use consistent_hash::Ring;
pub(crate) use hash_key::ClientAddress;
pub(crate) use health_checker::Checker;
pub(crate) use in_flight::InFlight;
pub(crate) use in_flight::{InFlightBody, Lease};
use limits::{Admitted, Budget};
use load_balancer::ServerCandidate;
use outlier_detection::{AttemptOutcome, Turn};
use retry_budget::Retries;
use server::ClusterServer;

/// When a client retries where no server is healthy and none is checked.
const COME_BACK: Duration = Duration::from_secs(1);

/// See the page's head.
pub(crate) struct Cluster {
    name: String,
    servers: Vec<Arc<ClusterServer>>,
    balance: Balance,
    ring: Option<Ring>,
    turn: AtomicUsize,
    retries: Arc<Mutex<Retries>>,
    budget: Arc<Budget>,
    /// Between two checks, where there are any.
    interval: Option<Duration>,
    /// Whether it was logged that its servers authenticate connections.
    is_bound: AtomicBool,
    telemetry: Arc<Telemetry>,
}

/// A request on its way to a server.
pub(crate) struct Attempts<'f> {
    fleet: &'f Arc<Cluster>,
    /// Hash of the request, where the fleet spreads by one.
    key: Option<Vec<u8>>,
    /// Where it goes first, whatever the balance says.
    first: Option<usize>,
    /// Where it is.
    place: Option<usize>,
    /// Where it was before.
    tried: Vec<usize>,
}

/// No server may be tried.
pub(crate) struct NoneLeft {
    /// When that may be otherwise.
    pub(crate) retry_after: Duration,
}

/// How a server is, for the health report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerHealth {
    /// Its URL as configured.
    pub(crate) url: String,
    /// Whether it gets requests, and accepts connections now.
    pub(crate) is_healthy: bool,
}

impl Cluster {
    /// The fleet that this configuration wants. Servers that `before` has too are taken over with all that is known of them;
    /// others join it slowly where it has a healthy server.
    pub(crate) fn new(
        upstream: &Upstream,
        before: Option<&Cluster>,
        telemetry: &Arc<Telemetry>,
    ) -> Self {
        let now = Instant::now();
        let mut known: HashMap<_, Vec<_>> = HashMap::new();
        let old = before.map_or(&[][..], |before| &before.servers);
        for server in old.iter().rev() {
            known.entry(&server.authority).or_default().push(server);
        }
        let stays = |server: &&Arc<ClusterServer>| upstream.servers.contains(&server.authority);
        let is_joined = old.iter().filter(stays).any(|s| s.record().is_usable());
        let one = |authority: &config::Authority| {
            let kept = known.get_mut(authority).and_then(Vec::pop).cloned();
            kept.unwrap_or_else(|| {
                let newcomer = is_joined.then_some(now);
                Arc::new(ClusterServer::new(authority.clone(), newcomer))
            })
        };
        let servers: Vec<Arc<ClusterServer>> = upstream.servers.iter().map(one).collect();
        let budget = before.map(|before| &before.budget);
        let budget = budget.filter(|budget| budget.is(&upstream.budget)).cloned();
        let fleet = Cluster {
            name: upstream.name.clone(),
            ring: matches!(upstream.balance, Balance::Hash(_)).then(|| {
                let addresses = servers.iter().map(|s| s.authority.address.as_str());
                Ring::new(addresses)
            }),
            servers,
            balance: upstream.balance.clone(),
            turn: AtomicUsize::new(0),
            retries: before.map_or_else(
                || Arc::new(Mutex::new(Retries::new(now))),
                |before| before.retries.clone(),
            ),
            budget: budget.unwrap_or_else(|| Arc::new(Budget::new(upstream.budget.clone()))),
            interval: upstream.health.as_ref().map(|health| health.interval),
            is_bound: AtomicBool::new(false),
            telemetry: telemetry.clone(),
        };
        fleet.announce(old);
        fleet
    }

    /// Shows the gauges of present servers, and no longer those of removed ones.
    fn announce(&self, before: &[Arc<ClusterServer>]) {
        for gone in before {
            if !self.servers.iter().any(|s| s.authority == gone.authority) {
                self.dismiss(gone);
            }
        }
        for server in &self.servers {
            let mut record = server.record();
            record.set_checked(self.interval.is_some());
            let url = server.authority.url();
            self.telemetry
                .upstreams
                .server_known(&self.name, &url, record.is_usable());
        }
    }

    /// The upstream is gone from the configuration.
    pub(crate) fn disband(&self) {
        for server in &self.servers {
            self.dismiss(server);
        }
    }

    fn dismiss(&self, server: &ClusterServer) {
        server.record().leave();
        let url = server.authority.url();
        self.telemetry.upstreams.server_removed(&self.name, &url);
    }

    /// Waits until the budget allows the request; `None` where it does not in time.
    pub(crate) async fn admit(&self, purpose: Purpose) -> Option<limits::ServerPlace> {
        let Admitted { place, has_waited } = self.budget.admit(purpose).await?;
        if has_waited {
            self.telemetry
                .upstreams
                .budget_waited(&self.name, purpose.as_str());
        }
        Some(place)
    }

    /// A request sets out.
    pub(crate) fn set_out(self: &Arc<Self>, head: &Parts, purpose: Purpose) -> Attempts<'_> {
        self.retries().count(Instant::now());
        let key = match &self.balance {
            Balance::Hash(key) => hash_key::find(key, head, purpose).map(|key| key.into_owned()),
            Balance::RoundRobin | Balance::LeastRequests => None,
        };
        Attempts {
            fleet: self,
            key,
            first: None,
            place: None,
            tried: Vec::new(),
        }
    }

    /// A server authenticates connections; this is logged once.
    pub(crate) fn note_bound(&self, fate: ConnectionAuth) {
        if !self.is_bound.swap(true, Ordering::Relaxed) {
            let is_pinned = fate == ConnectionAuth::Pin;
            self.telemetry
                .upstreams
                .connections_bound(&self.name, is_pinned);
        }
    }

    /// Whether no server is healthy.
    pub(crate) fn is_down(&self) -> bool {
        !self.servers.iter().any(|s| s.record().is_usable())
    }

    /// When a client should retry, where no server is healthy.
    pub(crate) fn retry_after(&self) -> Duration {
        let is_ejected_only = |s: &Arc<ClusterServer>| !s.record().checks.is_out();
        match self.interval {
            Some(interval) if !self.servers.iter().any(is_ejected_only) => interval.max(COME_BACK),
            _ => COME_BACK,
        }
    }

    /// Takes in what came of a request to one of the servers.
    fn take(&self, server: &ClusterServer, outcome: AttemptOutcome, is_probe: bool) {
        // A healthy server needs no look at the others, and most are healthy.
        let others = (outcome != AttemptOutcome::Good || is_probe) && self.has_others(server);
        let turn = server
            .record()
            .take(outcome, is_probe, others, Instant::now());
        let url = || server.authority.url();
        match turn {
            Some(Turn::Out { term }) => {
                let term = others.then_some(term);
                self.telemetry
                    .upstreams
                    .server_ejected(&self.name, &url(), term);
            }
            Some(Turn::Back) => self
                .telemetry
                .upstreams
                .server_back(&self.name, &url(), "answers"),
            None => {}
        }
    }

    /// Takes in a check of one of the servers.
    fn take_check(&self, server: &ClusterServer, outcome: Result<(), String>) {
        let others = self.has_others(server);
        let changed = server
            .record()
            .check(outcome.is_ok(), others, Instant::now());
        let url = || server.authority.url();
        match (changed, outcome) {
            (Some(true), _) => self
                .telemetry
                .upstreams
                .server_back(&self.name, &url(), "checks"),
            (Some(false), Err(why)) => {
                self.telemetry
                    .upstreams
                    .server_unhealthy(&self.name, &url(), &why)
            }
            _ => {}
        }
    }

    fn has_others(&self, server: &ClusterServer) -> bool {
        let is_other = |other: &Arc<ClusterServer>| !std::ptr::eq(&**other, server);
        let mut others = self.servers.iter().filter(|other| is_other(other));
        others.any(|other| other.record().is_usable())
    }

    /// The health of every server. Servers that might get a request now are tried: the report shows how they are now, not how
    /// they were at the last request.
    pub(crate) async fn report(&self, pool: &Pool) -> Vec<ServerHealth> {
        let reports = self.servers.iter().map(|server| async move {
            let others = self.has_others(server);
            let is_shunned = server.record().is_shunned(others, Instant::now());
            let is_healthy = !is_shunned && pool.accepts(&server.authority).await;
            ServerHealth {
                url: server.authority.url(),
                is_healthy,
            }
        });
        futures_util::future::join_all(reports).await
    }

    fn retries(&self) -> std::sync::MutexGuard<'_, Retries> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempts<'_> {
    /// Goes to that server first, unless its checks say that it is not well.
    pub(crate) fn stay_where(&mut self, is_there: impl Fn(&config::Authority) -> bool) {
        let is_it = |server: &Arc<ClusterServer>| {
            is_there(&server.authority) && !server.record().checks.is_out()
        };
        self.first = self.fleet.servers.iter().position(is_it);
    }

    /// The server for the next attempt; it is not one of those that were tried.
    ///
    /// Where no healthy server is left, an ejected one is tried: a request that would fail anyway costs its client nothing
    /// more.
    pub(crate) fn next(&mut self) -> Result<Lease, NoneLeft> {
        self.tried.extend(self.place.take());
        let now = Instant::now();
        let first = self.first.take().map(|place| {
            let is_due = self.fleet.servers[place].record().is_due(now);
            (place, is_due)
        });
        let chosen = first.or_else(|| self.choose(now, fastrand::f64()));
        let chosen = chosen.or_else(|| self.last_resort(now));
        let Some((place, is_probe)) = chosen else {
            return Err(NoneLeft {
                retry_after: self.fleet.retry_after(),
            });
        };
        let server = self.fleet.servers[place].clone();
        if is_probe {
            server.record().ejection.probe(now);
        }
        self.place = Some(place);
        Ok(Lease::new(self.fleet.clone(), server, now, is_probe))
    }

    /// Whether the request may be sent once more, after it may have been sent already. It goes to
    /// another server where there is one.
    pub(crate) fn may_repeat(&mut self) -> bool {
        let fleet = self.fleet;
        if !fleet.retries().take(Instant::now()) || !fleet.budget.take_more() {
            fleet.telemetry.upstreams.retry_refused(&fleet.name);
            return false;
        }
        self.tried.extend(self.place.take());
        let is_left = |(place, server): (usize, &Arc<ClusterServer>)| {
            !self.tried.contains(&place) && server.record().is_usable()
        };
        if !fleet.servers.iter().enumerate().any(is_left) {
            self.tried.clear();
        }
        true
    }

    fn choose(&self, now: Instant, roll: f64) -> Option<(usize, bool)> {
        let fleet = self.fleet;
        if let ([only], []) = (&fleet.servers[..], &self.tried[..]) {
            let record = only.record();
            let is_due = record.is_due(now);
            return (record.is_usable() || is_due).then_some((0, is_due));
        }
        if let (Some(ring), Some(key)) = (&fleet.ring, &self.key) {
            let mut walk = ring.walk(key).filter(|place| !self.tried.contains(place));
            return walk.find_map(|place| {
                let record = fleet.servers[place].record();
                let may_be = record.is_usable() || record.is_due(now);
                may_be.then(|| (place, !record.is_usable()))
            });
        }
        let mut candidates = Vec::with_capacity(fleet.servers.len());
        for (place, server) in fleet.servers.iter().enumerate() {
            if self.tried.contains(&place) {
                continue;
            }
            let mut record = server.record();
            if record.is_due(now) {
                return Some((place, true));
            }
            if record.is_usable() {
                candidates.push(ServerCandidate {
                    place,
                    in_flight: server.load(),
                    share: record.share(now),
                });
            }
        }
        let turn = fleet.turn.fetch_add(1, Ordering::Relaxed);
        let choice = match fleet.balance {
            Balance::LeastRequests => load_balancer::least_requests(&mut candidates, turn, roll),
            Balance::RoundRobin | Balance::Hash(_) => {
                load_balancer::round_robin(&mut candidates, turn, roll)
            }
        };
        choice.map(|place| (place, false))
    }

    fn last_resort(&self, now: Instant) -> Option<(usize, bool)> {
        let count = self.fleet.servers.len();
        let first = self.fleet.turn.fetch_add(1, Ordering::Relaxed);
        let mut places = (0..count).map(|n| first.wrapping_add(n) % count);
        let place = places.find(|place| {
            let server = &self.fleet.servers[*place];
            !self.tried.contains(place) && server.record().may_be_tried(now)
        })?;
        Some((place, true))
    }
}
