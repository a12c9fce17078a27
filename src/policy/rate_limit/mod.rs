//! How much one client may ask for: exact limits behind bounded estimates.
//!
//! [`Limiters`] are those of all policies, kept across reloads; a [`Limiter`] is one quota over all [`Key`]s. [`ConnectionPermit`]s count
//! open connections, [`Admission`] limits all handshakes together, [`Abuse`] distinguishes a client that hurries from one that
//! floods, [`headers`] makes the fields of a `429`.
//!
//! Absent: a limit that several processes share.

mod abuse;
mod buckets;
mod clock;
mod concurrency;
mod handshake_limit;
pub mod headers;
mod key;
mod limiter;
mod policies;
mod quota;
mod retry_spread;
mod sketch;
mod store;

#[cfg(test)]
mod tests;

pub use abuse::Abuse;
pub use clock::Clock;
pub use concurrency::{ConnectionPermit, Seats, TooManyConnections};
pub use handshake_limit::{Admission, RetryAfter};
pub use key::{Key, NO_ROUTE};
pub use limiter::{Limiter, Wait};
pub use policies::{Exceeded, LimitKind, Limiters, PolicyLimiters};
