//! The addresses of one server, kept up to date for as long as it is used.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use super::resolver::Resolver;
use crate::config::Authority;
use crate::error::{Error, Obstacle};
use crate::telemetry::Telemetry;
use crate::upstream::pool::host::HostPool;

/// Addresses are looked up again when their time to live is over, but neither sooner nor later
/// than this; after a failure, as soon as this.
const SOONEST: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_secs(300);

pub(crate) struct Addresses {
    host: String,
    port: u16,
    /// `None` before the first look-up.
    known: RwLock<Option<Arc<[IpAddr]>>>,
    /// Held by the caller that looks up first.
    asking: tokio::sync::Mutex<()>,
    turn: AtomicUsize,
}

/// The resolver to ask, and the telemetry to report to.
#[derive(Clone)]
pub(crate) struct Guide {
    pub(crate) upstream: String,
    pub(crate) resolver: Resolver,
    pub(crate) telemetry: Arc<Telemetry>,
}

impl Addresses {
    pub(crate) fn of(server: &Authority) -> Self {
        let host = server.host().trim_matches(['[', ']']).to_owned();
        let literal: Option<IpAddr> = match server.socket() {
            // Nothing is ever looked up for it.
            Some(_) => Some(crate::upstream::pool::connect::NOWHERE.ip()),
            None => host.parse().ok(),
        };
        Addresses {
            port: server.port(),
            known: RwLock::new(literal.map(|ip| Arc::from([ip]))),
            host,
            asking: tokio::sync::Mutex::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Whether connections to this address may go on being used.
    pub(crate) fn name(&self, address: &SocketAddr) -> bool {
        self.known()
            .is_none_or(|known| known.contains(&address.ip()))
    }

    /// Where to connect to, what is to be tried first at the front: IPv6 and IPv4 by turns (RFC
    /// 8305, section 4), each family beginning with another address every time.
    fn in_order(&self, known: &[IpAddr]) -> Vec<SocketAddr> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let family = |is_ipv6: bool| {
            let of_it = known.iter().filter(move |ip| ip.is_ipv6() == is_ipv6);
            let mut of_it: Vec<_> = of_it.copied().collect();
            let first = turn.checked_rem(of_it.len()).unwrap_or(0);
            of_it.rotate_left(first);
            of_it
        };
        let (six, four) = (family(true), family(false));
        (0..six.len().max(four.len()))
            .flat_map(|at| six.get(at).into_iter().chain(four.get(at)))
            .map(|ip| SocketAddr::new(*ip, self.port))
            .collect()
    }

    fn known(&self) -> Option<Arc<[IpAddr]>> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether these are others than before.
    fn learn(&self, addresses: Vec<IpAddr>) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let is_same = known.as_ref().is_some_and(|known| {
            known.len() == addresses.len() && addresses.iter().all(|ip| known.contains(ip))
        });
        *known = Some(addresses.into());
        !is_same
    }
}

/// The addresses of a depot's server; looked up at first, and from then on whenever their time is over.
pub(crate) async fn addresses(
    depot: &Arc<HostPool>,
    guide: &Guide,
) -> Result<Vec<SocketAddr>, Error> {
    let addresses = &depot.addresses;
    if let Some(known) = addresses.known() {
        return Ok(addresses.in_order(&known));
    }
    let _first = addresses.asking.lock().await;
    if let Some(known) = addresses.known() {
        return Ok(addresses.in_order(&known));
    }
    let found = guide.resolver.look_up(&addresses.host).await;
    let found = found.map_err(|detail| {
        Error::unconnected(Obstacle::NoAddress, format!("{}: {detail}", addresses.host))
    })?;
    let order = addresses.in_order(&found.addresses);
    addresses.learn(found.addresses);
    tokio::spawn(keep_current(
        Arc::downgrade(depot),
        guide.clone(),
        found.ttl,
    ));
    Ok(order)
}

/// Looks the addresses up again and again. The old ones are kept where that fails.
async fn keep_current(depot: Weak<HostPool>, guide: Guide, mut ttl: Duration) {
    let Guide {
        upstream,
        resolver,
        telemetry,
    } = guide;
    let mut is_failing = false;
    loop {
        tokio::time::sleep(ttl.clamp(SOONEST, LATEST)).await;
        let Some(host) = depot.upgrade().map(|depot| depot.addresses.host.clone()) else {
            return;
        };
        let found = resolver.look_up(&host).await;
        let Some(depot) = depot.upgrade() else {
            return;
        };
        match found {
            Ok(found) => {
                is_failing = false;
                ttl = found.ttl;
                let count = found.addresses.len();
                if depot.addresses.learn(found.addresses) {
                    telemetry.upstreams.upstream_moved(&upstream, &host, count);
                    depot.clear();
                }
            }
            Err(detail) => {
                let is_news = !std::mem::replace(&mut is_failing, true);
                telemetry
                    .upstreams
                    .upstream_name_lost(&upstream, &host, &detail, is_news);
                ttl = SOONEST;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, is_https: bool) -> Addresses {
        Addresses::of(&Authority {
            address: url.to_owned(),
            is_https,
        })
    }

    #[test]
    fn families_take_turns_and_so_do_addresses() {
        let addresses = of("app:80", false);
        let known: Vec<IpAddr> = ["1.1.1.1", "::1", "2.2.2.2", "3.3.3.3", "::2"]
            .map(|ip| ip.parse().unwrap())
            .to_vec();
        let told = |tried: Vec<SocketAddr>| {
            let ips: Vec<_> = tried
                .iter()
                .map(|address| address.ip().to_string())
                .collect();
            ips.join(" ")
        };
        let next = || told(addresses.in_order(&known));
        assert_eq!(next(), "::1 1.1.1.1 ::2 2.2.2.2 3.3.3.3");
        assert_eq!(next(), "::2 2.2.2.2 ::1 3.3.3.3 1.1.1.1");
        assert_eq!(next(), "::1 3.3.3.3 ::2 1.1.1.1 2.2.2.2");
        assert_eq!(told(addresses.in_order(&[])), "");
    }

    #[test]
    fn a_literal_is_known_and_named_alone() {
        let six = of("[::1]:5000", false);
        assert_eq!(six.known().as_deref(), Some(&["::1".parse().unwrap()][..]));
        assert!(six.name(&"[::1]:5000".parse().unwrap()));
        assert!(!six.name(&"127.0.0.1:5000".parse().unwrap()));
        assert_eq!(of("app:80", false).known(), None);
    }

    #[test]
    fn only_other_addresses_are_news() {
        let addresses = of("app:80", false);
        let ips =
            |text: &str| -> Vec<IpAddr> { text.split(' ').map(|ip| ip.parse().unwrap()).collect() };
        assert!(addresses.learn(ips("1.1.1.1 2.2.2.2")));
        assert!(!addresses.learn(ips("2.2.2.2 1.1.1.1")));
        assert!(addresses.learn(ips("2.2.2.2")));
        assert!(!addresses.name(&"1.1.1.1:80".parse().unwrap()));
    }
}
