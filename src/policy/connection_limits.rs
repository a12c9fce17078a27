//! How many downstream connections there may be, in all and of one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Limits;

/// How many connections at once may go on being read after their answer was sent.
const LINGERING: usize = 1000;

/// All downstream connections of this process, WebSockets and tunnels included. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    lingering: usize,
    /// Of addresses with a connection; nothing is kept of the others.
    by_address: HashMap<IpAddr, usize>,
}

/// One connection's place; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    connections: Connections,
    address: Option<IpAddr>,
}

/// A place among those that linger; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Lingering(Connections);

/// Which cap a connection would be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// `server.limits.connections`.
    All,
    /// `server.limits.connections_per_ip`.
    Address,
}

impl Full {
    /// The word in `refused_total{reason}`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Full::All => "connections",
            Full::Address => "connections_per_ip",
        }
    }
}

impl Connections {
    /// Takes a place for a connection. `address` is `None` where it says nothing about the client:
    /// on a unix socket, and for a trusted proxy.
    ///
    /// # Errors
    /// The cap that is reached.
    pub(crate) fn admit(&self, address: Option<IpAddr>, limits: &Limits) -> Result<Permit, Full> {
        let mut counts = self.lock();
        if counts.all >= limits.connections {
            return Err(Full::All);
        }
        let address = counts.count(address, limits)?;
        counts.all += 1;
        Ok(Permit {
            connections: self.clone(),
            address,
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().all
    }

    /// Takes a place for a connection whose client may still be sending though its answer is out; `None` where too many of
    /// them are read already.
    pub(crate) fn linger(&self) -> Option<Lingering> {
        let mut counts = self.lock();
        if counts.lingering >= LINGERING {
            return None;
        }
        counts.lingering += 1;
        Some(Lingering(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// One more of an address; `None` where its connections are not counted.
    fn count(&mut self, address: Option<IpAddr>, limits: &Limits) -> Result<Option<IpAddr>, Full> {
        let (Some(address), Some(limit)) = (address.map(block), limits.connections_per_ip) else {
            return Ok(None);
        };
        let count = self.by_address.entry(address).or_default();
        // Nothing is entered in vain: a limit is one at least.
        if *count >= limit {
            return Err(Full::Address);
        }
        *count += 1;
        Ok(Some(address))
    }
}

impl Permit {
    /// Counts a connection for an address that became known only after it had its place; once at most.
    ///
    /// # Errors
    /// [`Full::Address`]; the place itself stays.
    pub(crate) fn count_for(
        &mut self,
        address: Option<IpAddr>,
        limits: &Limits,
    ) -> Result<(), Full> {
        self.address = self.connections.lock().count(address, limits)?;
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.connections.lock();
        counts.all = counts.all.saturating_sub(1);
        let Some(address) = self.address else {
            return;
        };
        if let Some(count) = counts.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let mut counts = self.0.lock();
        counts.lingering = counts.lingering.saturating_sub(1);
    }
}

/// A client that has one IPv6 address has its whole /64.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits(connections: usize, connections_per_ip: Option<usize>) -> Limits {
        Limits {
            connections,
            connections_per_ip,
            handshakes: None,
            header_bytes: 32 << 10,
            response_headers: 200,
            headers: 100,
            header_timeout: Duration::from_secs(10),
            body_idle_timeout: Some(Duration::from_secs(30)),
            body_min_rate: 100,
            memory: 256 << 20,
            topics: 1,
            topics_per_principal: 1,
        }
    }

    #[test]
    fn an_address_that_is_told_later_counts_from_then_on() {
        let connections = Connections::default();
        let limits = limits(10, Some(1));
        let mut first = connections.admit(None, &limits).unwrap();
        first.count_for(ip("192.0.2.1"), &limits).unwrap();
        let mut second = connections.admit(None, &limits).unwrap();
        let full = second.count_for(ip("192.0.2.1"), &limits);
        assert_eq!(full.unwrap_err(), Full::Address);
        second.count_for(ip("192.0.2.2"), &limits).unwrap();
        drop((first, second));
        assert_eq!(connections.count(), 0);
        assert!(connections.lock().by_address.is_empty());
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn only_so_many_linger_at_once() {
        let connections = Connections::default();
        let mut lingering: Vec<_> = (0..LINGERING).map(|_| connections.linger()).collect();
        assert!(lingering.iter().all(Option::is_some));
        assert!(connections.linger().is_none());
        lingering.pop();
        assert!(connections.linger().is_some());
    }

    #[test]
    fn a_place_is_taken_and_given_back() {
        let connections = Connections::default();
        let limits = limits(2, None);
        let first = connections.admit(ip("192.0.2.1"), &limits).unwrap();
        let second = connections.admit(None, &limits).unwrap();
        assert_eq!(connections.admit(None, &limits).unwrap_err(), Full::All);
        drop(first);
        connections.admit(None, &limits).unwrap();
        drop(second);
        assert_eq!(connections.count(), 0);
    }

    #[test]
    fn one_address_has_its_own_cap_and_leaves_nothing_behind() {
        let connections = Connections::default();
        let limits = limits(10, Some(1));
        let first = connections.admit(ip("2001:db8::1"), &limits).unwrap();
        let same = connections.admit(ip("2001:db8::2"), &limits);
        assert_eq!(same.unwrap_err(), Full::Address);
        let other = connections.admit(ip("2001:db8:0:1::1"), &limits);
        let proxies = [(); 3].map(|()| connections.admit(None, &limits).unwrap());
        drop((first, other, proxies));
        assert_eq!(connections.count(), 0);
        assert!(connections.lock().by_address.is_empty());
    }
}
