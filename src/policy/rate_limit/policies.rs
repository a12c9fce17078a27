//! The limiters of all policies.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task;
use tokio::time::{Instant, sleep};

use super::concurrency::{ConnectionPermit, Seats, TooManyConnections};
use super::key::Key;
use super::limiter::{Limiter, Wait};
use crate::config::{Rate, RateLimit};

/// Quotas that are whole again are forgotten this often.
const PRUNING: Duration = Duration::from_secs(10);

/// How often limiters are checked for a crowd.
const LOOK: Duration = Duration::from_secs(1);

/// The limiters of all policies. They outlive a reload.
#[derive(Debug, Default)]
pub struct Limiters {
    policies: ArcSwap<HashMap<String, Arc<PolicyLimiters>>>,
    /// Held by the reload that replaces them.
    replacing: Mutex<()>,
    seats: Seats,
}

/// What is limited by a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// `requests`.
    Requests,
    /// `connects`.
    Connects,
    /// `messages`.
    Messages,
    /// `bytes`.
    Bytes,
    /// `subscriptions`.
    Subscriptions,
}

/// A `[rate_limit.NAME]` at work.
#[derive(Debug)]
pub struct PolicyLimiters {
    policy: RateLimit,
    /// By [`LimitKind`].
    limiters: [Option<Arc<Limiter>>; 5],
    seats: Seats,
}

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// What it is.
    pub(crate) rate: Rate,
    /// How long to wait.
    pub(crate) wait: Wait,
}

impl Limiters {
    /// Goes by these policies from now on. A limiter whose rate is the same lives on with all it knows; one whose rate changed
    /// begins anew; those of policies that are gone go.
    pub fn adopt(&self, policies: &BTreeMap<String, Arc<RateLimit>>) {
        let _replacing = self.replacing();
        let old = self.policies.load();
        let adopted = policies.values().map(|policy| {
            let before = old.get(&policy.name);
            let limiters = PolicyLimiters::new(policy, before, &self.seats);
            (policy.name.clone(), Arc::new(limiters))
        });
        self.policies.store(Arc::new(adopted.collect()));
    }

    /// The limiters of a policy, by its name. A request that was routed before a reload took its policy away is limited all the
    /// same.
    pub fn of(&self, policy: &RateLimit) -> Arc<PolicyLimiters> {
        if let Some(limiters) = self.policies.load().get(&policy.name) {
            return limiters.clone();
        }
        let _replacing = self.replacing();
        let mut policies = HashMap::clone(&self.policies.load());
        let limiters = policies.entry(policy.name.clone()).or_insert_with(|| {
            let limiters = PolicyLimiters::new(policy, None, &self.seats);
            Arc::new(limiters)
        });
        let limiters = limiters.clone();
        self.policies.store(Arc::new(policies));
        limiters
    }

    /// Forgets every quota that is whole again.
    pub(crate) fn prune(&self) {
        for limiter in self.all() {
            limiter.prune();
        }
    }

    /// Prunes every ten seconds, and a crowd within one; for ever.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut pruned = Instant::now();
        loop {
            sleep(LOOK).await;
            let is_time = pruned.elapsed() >= PRUNING;
            if is_time || self.all().iter().any(|limiter| limiter.is_crowded()) {
                let limiters = self.clone();
                // A million keys take longer than a worker may be kept from its sessions.
                let _ = task::spawn_blocking(move || limiters.prune()).await;
                pruned = Instant::now();
            }
        }
    }

    fn all(&self) -> Vec<Arc<Limiter>> {
        let policies = self.policies.load();
        let limiters = policies.values().flat_map(|policy| &policy.limiters);
        limiters.flatten().cloned().collect()
    }

    fn replacing(&self) -> impl Drop + '_ {
        self.replacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl PolicyLimiters {
    /// Keeps what there was before of the same rate.
    fn new(policy: &RateLimit, before: Option<&Arc<PolicyLimiters>>, seats: &Seats) -> Self {
        let rates = [
            (LimitKind::Requests, policy.requests),
            (LimitKind::Connects, policy.connects),
            (LimitKind::Messages, policy.messages),
            (LimitKind::Bytes, policy.bytes),
            (LimitKind::Subscriptions, policy.subscriptions),
        ];
        let limiter = |(kind, rate): (LimitKind, Option<Rate>)| {
            let rate = rate?;
            let before = before.and_then(|before| before.limiter(kind));
            match before.filter(|limiter| limiter.rate() == rate) {
                Some(limiter) => Some(limiter.clone()),
                None => Some(Arc::new(Limiter::new(rate))),
            }
        };
        PolicyLimiters {
            policy: policy.clone(),
            limiters: rates.map(limiter),
            seats: seats.clone(),
        }
    }

    /// Takes so many from a key's quota of this kind, all or nothing. What has no rate is not limited.
    ///
    /// # Errors
    /// The limit that was reached.
    pub fn check(&self, kind: LimitKind, key: Key, count: u32) -> Result<(), Exceeded> {
        let Some(limiter) = self.limiter(kind) else {
            return Ok(());
        };
        limiter.check(key, count).map_err(|wait| Exceeded {
            rate: limiter.rate(),
            wait,
        })
    }

    /// A seat for one more connection, see [`Seats::take`].
    ///
    /// # Errors
    /// The cap that is reached.
    pub(crate) fn take_seat(
        &self,
        user: Option<&[u8; 32]>,
        address: Option<IpAddr>,
    ) -> Result<ConnectionPermit, TooManyConnections> {
        self.seats.take(&self.policy, user, address)
    }

    fn limiter(&self, kind: LimitKind) -> Option<&Arc<Limiter>> {
        self.limiters.get(kind as usize)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rate(count: u32) -> Option<Rate> {
        let count = NonZeroU32::new(count).unwrap();
        Some(Rate {
            count,
            per: Duration::from_secs(3600),
            burst: count,
        })
    }

    fn policies<const N: usize>(policies: [RateLimit; N]) -> BTreeMap<String, Arc<RateLimit>> {
        let named = |policy: RateLimit| (policy.name.clone(), Arc::new(policy));
        policies.map(named).into()
    }

    fn policy(name: &str, requests: u32, connects: u32) -> RateLimit {
        RateLimit {
            name: name.into(),
            requests: rate(requests),
            connects: rate(connects),
            ..RateLimit::default()
        }
    }

    /// How many a key is allowed from now on.
    fn left(limiters: &Limiters, policy: &RateLimit, kind: LimitKind) -> usize {
        let limiters = limiters.of(policy);
        let key = Key::connection(1);
        (0..100)
            .take_while(|_| limiters.check(kind, key, 1).is_ok())
            .count()
    }

    #[test]
    fn a_reload_keeps_the_limiters_whose_rate_is_the_same() {
        let limiters = Limiters::default();
        let before = policy("default", 5, 7);
        limiters.adopt(&policies([before.clone()]));
        assert_eq!(left(&limiters, &before, LimitKind::Requests), 5);
        assert_eq!(left(&limiters, &before, LimitKind::Connects), 7);
        let after = policy("default", 5, 8);
        limiters.adopt(&policies([after.clone(), policy("other", 5, 7)]));
        assert_eq!(left(&limiters, &after, LimitKind::Requests), 0);
        assert_eq!(left(&limiters, &after, LimitKind::Connects), 8);
        // Policies and kinds count for themselves.
        assert_eq!(
            left(&limiters, &policy("other", 5, 7), LimitKind::Requests),
            5
        );
    }

    #[test]
    fn a_policy_that_is_gone_and_comes_again_knows_nothing() {
        let limiters = Limiters::default();
        let policy = policy("default", 5, 7);
        limiters.adopt(&policies([policy.clone()]));
        assert_eq!(left(&limiters, &policy, LimitKind::Requests), 5);
        limiters.adopt(&policies([]));
        assert!(limiters.policies.load().is_empty());
        limiters.adopt(&policies([policy.clone()]));
        assert_eq!(left(&limiters, &policy, LimitKind::Requests), 5);
    }

    #[test]
    fn a_request_that_a_reload_overtook_is_limited_all_the_same() {
        let limiters = Limiters::default();
        let gone = policy("gone", 5, 7);
        assert_eq!(left(&limiters, &gone, LimitKind::Requests), 5);
        assert_eq!(left(&limiters, &gone, LimitKind::Requests), 0);
    }

    #[test]
    fn what_has_no_rate_is_not_limited() {
        let limiters = Limiters::default();
        let policy = policy("default", 5, 7);
        assert_eq!(left(&limiters, &policy, LimitKind::Messages), 100);
    }

    #[test]
    fn a_limited_client_hears_what_the_limit_is() {
        let limiters = Limiters::default().of(&policy("default", 5, 7));
        let exceeded = limiters.check(LimitKind::Requests, Key::EVERYBODY, 6);
        let exceeded = exceeded.unwrap_err();
        assert_eq!(Some(exceeded.rate), rate(5));
        assert!(exceeded.wait.is_in_vain);
    }

    #[test]
    fn places_outlive_a_reload() {
        let limiters = Limiters::default();
        let policy = RateLimit {
            connections_per_user: Some(1),
            ..policy("default", 5, 7)
        };
        limiters.adopt(&policies([policy.clone()]));
        let seat = limiters.of(&policy).take_seat(Some(&[1; 32]), None);
        limiters.adopt(&policies([]));
        limiters.adopt(&policies([policy.clone()]));
        let second = limiters.of(&policy).take_seat(Some(&[1; 32]), None);
        assert_eq!(second.unwrap_err(), TooManyConnections::User);
        drop(seat);
        let third = limiters.of(&policy).take_seat(Some(&[1; 32]), None);
        third.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn quotas_that_are_whole_again_are_forgotten_by_themselves() {
        let limiters = Arc::new(Limiters::default());
        let policy = RateLimit {
            requests: rate(3_600_000),
            ..policy("default", 5, 7)
        };
        let of = limiters.of(&policy);
        let keeper = tokio::spawn(limiters.clone().keep());
        for number in 0..1000 {
            let _ = of.check(LimitKind::Requests, Key::connection(number), 1);
        }
        let limiter = of.limiter(LimitKind::Requests).unwrap();
        assert_eq!(limiter.count(), 1000);
        while limiter.count() > 0 {
            sleep(LOOK).await;
        }
        keeper.abort();
    }
}
