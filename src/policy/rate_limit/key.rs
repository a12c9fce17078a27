//! Whose quota something counts against.

use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest, Sha256};

use crate::config::LimitBy;

/// An address, a user, a route or a connection: a tag of 8 bits and 120 bits beside it.
///
/// Small, because a million of them may be kept. A client cannot choose a key that collides with another's: numbers are kept
/// whole, and texts as 120 bits of their SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u64; 2]);

/// How limits and metrics name what is no route of the file.
pub(crate) const NO_ROUTE: &str = "-";

const EVERYBODY: u64 = 0;
const ADDRESS: u64 = 1;
const BLOCK: u64 = 2;
const NETWORK: u64 = 3;
const SITE: u64 = 4;
const USER: u64 = 5;
const ROUTE: u64 = 6;
const CONNECTION: u64 = 7;
const CROWD: u64 = 8;

/// Where a key's tag is.
const TAG: u32 = 56;

/// One in so many users, or connections, shares a bucket where memory allows no more.
const CROWDS: u64 = 4096;

impl Key {
    /// All that have no other key: where one bucket serves all, or memory allows no more.
    pub(crate) const EVERYBODY: Key = Key([EVERYBODY << TAG, 0]);

    /// An address. IPv4 alone, also where it came as IPv6. IPv6 by its /64, which belongs to one client as a whole.
    pub fn address(address: IpAddr) -> Key {
        match address.to_canonical() {
            IpAddr::V4(address) => Key::number(ADDRESS, address.to_bits().into()),
            IpAddr::V6(address) => Key::number(BLOCK, high(address)),
        }
    }

    /// A user by the fingerprint of its identity.
    pub fn user(principal: &[u8; 32]) -> Key {
        Key::hash(USER, principal)
    }

    /// All clients of a route, or of another named thing.
    pub(crate) fn route(name: &str) -> Key {
        Key::hash(ROUTE, &Sha256::digest(name).into())
    }

    /// The key that a policy's `by` counts against; `otherwise` where that is unknown.
    pub(crate) fn of(
        by: LimitBy,
        principal: Option<&[u8; 32]>,
        route: &str,
        otherwise: Key,
    ) -> Key {
        match (by, principal) {
            (LimitBy::Route, _) => Key::route(route),
            (LimitBy::User, Some(principal)) => Key::user(principal),
            (LimitBy::User | LimitBy::Ip, _) => otherwise,
        }
    }

    /// A client's address as text; a proxy on a unix socket may have given none.
    pub(crate) fn remote(remote: &str) -> Key {
        remote.parse().map_or(Key::EVERYBODY, Key::address)
    }

    /// One connection by its number in this process.
    pub fn connection(number: u64) -> Key {
        Key::number(CONNECTION, number)
    }

    /// The whole of it, for what counts by itself; zeros for [`Key::EVERYBODY`].
    pub(crate) fn bits(self) -> [u64; 2] {
        self.0
    }

    /// The /48 of an IPv6 address: a client that rents a server often has all of its 65,536 /64s.
    pub(super) fn site(self) -> Option<Key> {
        let Key([head, low]) = self;
        (head >> TAG == BLOCK).then(|| Key::number(SITE, low >> 16))
    }

    /// The bucket that this key shares where memory allows none of its own: an IPv4 /24, an IPv6 /48, one in 4,096 of all
    /// users.
    pub(super) fn wider(self) -> Key {
        let Key([head, low]) = self;
        match head >> TAG {
            ADDRESS => Key::number(NETWORK, low >> 8),
            BLOCK => Key::number(SITE, low >> 16),
            tag @ (USER | CONNECTION) => Key::number(CROWD, (tag << 32) | (low % CROWDS)),
            _ => self,
        }
    }

    /// A number below 64, so that keys that are counted at one time rarely have the same.
    pub(super) fn stripe(self) -> usize {
        let Key([head, low]) = self;
        // Fibonacci hashing: what differs in any bit differs in the upper ones.
        ((head ^ low).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize
    }

    fn number(tag: u64, number: u64) -> Key {
        Key([tag << TAG, number])
    }

    fn hash(tag: u64, hash: &[u8; 32]) -> Key {
        let word = |at: usize| {
            let bytes = hash.iter().skip(at).take(8);
            bytes.fold(0, |word: u64, byte| (word << 8) | u64::from(*byte))
        };
        Key([(tag << TAG) | (word(0) >> 8), word(8)])
    }
}

fn high(address: Ipv6Addr) -> u64 {
    (address.to_bits() >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Key {
        Key::address(text.parse().unwrap())
    }

    #[test]
    fn an_address_is_its_owner() {
        let same = [
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("2001:db8::1", "2001:db8::ffff:2"),
        ];
        for (one, other) in same {
            assert_eq!(address(one), address(other), "{one} {other}");
        }
        let different = [
            ("192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::192.0.2.1"),
            ("2001:db8::1", "2001:db8:0:1::1"),
            ("::", "0.0.0.0"),
        ];
        for (one, other) in different {
            assert_ne!(address(one), address(other), "{one} {other}");
        }
    }

    #[test]
    fn only_ipv6_has_a_site() {
        let site = address("2001:db8:7:1::1").site();
        assert!(site.is_some());
        assert_eq!(site, address("2001:db8:7:ffff::1").site());
        assert_ne!(site, address("2001:db8:8::1").site());
        assert_eq!(address("192.0.2.1").site(), None);
        assert_eq!(Key::user(&[7; 32]).site(), None);
    }

    #[test]
    fn a_policy_says_which_key_its_quota_has() {
        let (alice, door) = ([1; 32], address("192.0.2.1"));
        let of = |by, principal| Key::of(by, principal, "feed", door);
        assert_eq!(of(LimitBy::User, Some(&alice)), Key::user(&alice));
        assert_eq!(of(LimitBy::User, None), door);
        assert_eq!(of(LimitBy::Ip, Some(&alice)), door);
        assert_eq!(of(LimitBy::Route, Some(&alice)), Key::route("feed"));
        assert_eq!(Key::remote("192.0.2.1"), door);
        assert_eq!(Key::remote("unix"), Key::EVERYBODY);
    }

    #[test]
    fn keys_of_different_things_never_meet() {
        let keys = [
            Key::EVERYBODY,
            address("0.0.0.1"),
            address("0:0:0:1::"),
            Key::connection(1),
            Key::user(&[0; 32]),
            Key::route(""),
            Key::route("1"),
            address("0.0.1.0").wider(),
            address("0:0:1::").wider(),
            Key::connection(1).wider(),
            Key::user(&[0; 32]).wider(),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{key:?}");
        }
    }

    #[test]
    fn every_byte_that_is_kept_of_a_hash_tells_users_apart() {
        let alice = Key::user(&[0; 32]);
        for at in (0..7).chain(8..16) {
            let mut hash = [0; 32];
            hash[at] = 1;
            assert_ne!(Key::user(&hash), alice, "byte {at}");
        }
    }

    #[test]
    fn neighbours_share_a_bucket_where_there_is_no_room() {
        assert_eq!(address("192.0.2.1").wider(), address("192.0.2.255").wider());
        assert_ne!(address("192.0.2.1").wider(), address("192.0.3.1").wider());
        let wide = address("2001:db8:7:1::").wider();
        assert_eq!(wide, address("2001:db8:7:2::").wider());
        let crowds: std::collections::HashSet<Key> = (0..100_000)
            .map(|number| Key::connection(number).wider())
            .collect();
        assert_eq!(crowds.len(), 4096);
        // One bucket for all of a route cannot become wider.
        assert_eq!(Key::route("a").wider(), Key::route("a"));
    }
}
