//! Policies at the door: connection caps, memory pressure, origins, who somebody is, and how much they may ask for.

pub mod auth;
pub mod caps;
pub mod cors;
pub mod pressure;
pub mod rate_limit;
