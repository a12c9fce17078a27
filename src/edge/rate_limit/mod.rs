//! How much one client may ask for: exact limits behind bounded estimates.
//!
//! [`Limiters`] are those of all policies, kept across reloads; a [`Limiter`] is one quota over all [`Key`]s. [`Seat`]s are
//! connections that stand at once, [`Admission`] is the one door for all handshakes, [`Excess`] tells a client that hurries
//! from one that floods, [`fields`] is what a `429` says of it.
//!
//! Absent: a limit that several processes share.

mod admission;
mod backlog;
mod buckets;
mod clock;
mod estimates;
mod excess;
pub mod fields;
mod key;
mod limiter;
mod measure;
mod policies;
mod seats;
mod store;

#[cfg(test)]
mod tests;

pub use admission::{Admission, RetryAfter};
pub use clock::Clock;
pub use excess::Excess;
pub use key::{Key, NO_ROUTE};
pub use limiter::{Limiter, Wait};
pub use policies::{Exceeded, Kind, Limiters, PolicyLimiters};
pub use seats::{Crowded, Seat, Seats};
