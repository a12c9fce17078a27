//! A consistent hash over the servers: the ring of points that nginx made common.

use std::net::{Ipv6Addr, SocketAddr};

use pingora_ketama::{Bucket, Continuum, DEFAULT_POINT_MULTIPLE};
use sha2::{Digest, Sha256};

/// The points of all servers, whether they are well or not: so a key comes back to its server
/// when that one does, and only its own keys move while it is away.
pub(crate) struct Ring {
    points: Continuum,
    nodes: Vec<SocketAddr>,
}

impl Ring {
    /// From `host:port` of every server.
    pub(crate) fn new<'a>(servers: impl Iterator<Item = &'a str>) -> Self {
        let nodes: Vec<SocketAddr> = servers.map(node).collect();
        let buckets: Vec<Bucket> = nodes.iter().map(|node| Bucket::new(*node, 1)).collect();
        Ring {
            points: Continuum::new(&buckets),
            nodes,
        }
    }

    /// The servers' places in the order in which they are asked for this key, each once.
    pub(crate) fn walk(&self, key: &[u8]) -> impl Iterator<Item = usize> {
        let points = self.nodes.len() * DEFAULT_POINT_MULTIPLE as usize;
        let mut seen = vec![false; self.nodes.len()];
        let place = |node: &SocketAddr| self.nodes.iter().position(|known| known == node);
        let around = self.points.node_iter(key).take(points).filter_map(place);
        around.filter(move |place| !std::mem::replace(&mut seen[*place], true))
    }
}

/// The ring wants addresses. A name gets one that no server has: what counts is that it is always the same.
fn node(server: &str) -> SocketAddr {
    server.parse().unwrap_or_else(|_| {
        let digest: [u8; 32] = Sha256::digest(server).into();
        let (address, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        (Ipv6Addr::from(*address), 0).into()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        let name = |n| match n % 2 {
            0 => format!("app-{n}:5000"),
            _ => format!("10.0.0.{n}:5000"),
        };
        (0..count).map(name).collect()
    }

    fn ring(names: &[String]) -> Ring {
        Ring::new(names.iter().map(String::as_str))
    }

    #[test]
    fn every_server_gets_its_share_of_the_keys() {
        let ring = ring(&names(5));
        let mut counts = [0; 5];
        for key in 0..10_000 {
            let first = ring.walk(format!("key-{key}").as_bytes()).next().unwrap();
            counts[first] += 1;
        }
        assert!(
            counts.iter().all(|n| (1_000..3_500).contains(n)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_server_that_goes_takes_only_its_own_keys_along() {
        let all = names(5);
        let without: Vec<String> = all.iter().filter(|n| **n != all[2]).cloned().collect();
        let (before, after) = (ring(&all), ring(&without));
        let mut moved = 0;
        for key in 0..10_000 {
            let key = format!("key-{key}");
            let mut walk = before.walk(key.as_bytes());
            let first = &all[walk.next().unwrap()];
            let now = &without[after.walk(key.as_bytes()).next().unwrap()];
            if *first == all[2] {
                // Passed over it is the same as if it had never been there.
                assert_eq!(now, &all[walk.next().unwrap()]);
                moved += 1;
            } else {
                assert_eq!(now, first);
            }
        }
        assert!((1_000..3_500).contains(&moved), "{moved}");
    }

    #[test]
    fn a_server_named_twice_is_one() {
        let twice = ring(&["app:1".to_owned(), "app:1".to_owned(), "app:2".to_owned()]);
        assert_eq!(twice.walk(b"key").count(), 2);
    }

    proptest! {
        #[test]
        fn every_server_is_asked_once(count in 1usize..12, key in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut walked: Vec<usize> = ring(&names(count)).walk(&key).collect();
            walked.sort_unstable();
            prop_assert_eq!(walked, (0..count).collect::<Vec<_>>());
        }
    }
}
