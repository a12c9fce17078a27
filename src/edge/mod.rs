//! Policies at the door: connection caps, memory pressure, hygiene, origins, who somebody is, and how much they may ask for.

pub mod auth;
pub mod caps;
pub mod cors;
pub mod hygiene;
pub mod pressure;
pub mod rate_limit;
