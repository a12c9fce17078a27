//! Policies at the door: connection caps, memory pressure, hygiene, origins. The last two are pure.

pub mod auth;
pub mod caps;
pub mod cors;
pub mod hygiene;
pub mod pressure;
pub mod rate_limit;
