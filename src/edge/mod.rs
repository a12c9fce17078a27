//! Policies at the door: hygiene, origins. Pure.

pub mod cors;
pub mod hygiene;
