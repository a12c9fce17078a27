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
pub(crate) mod headers;
mod key;
mod limiter;
mod policies;
mod quota;
mod retry_spread;
mod sketch;
mod store;

#[cfg(test)]
mod tests;

pub(crate) use abuse::Abuse;
pub(crate) use concurrency::{ConnectionPermit, TooManyConnections};
pub(crate) use handshake_limit::Admission;
pub use key::Key;
pub(crate) use key::NO_ROUTE;
pub use limiter::Limiter;
pub(crate) use limiter::Wait;
pub(crate) use policies::Exceeded;
pub use policies::{LimitKind, Limiters};
