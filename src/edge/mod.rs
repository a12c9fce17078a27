//! Policies at the door: connection caps, hygiene, origins. The last two are pure.

pub mod caps;
pub mod cors;
pub mod hygiene;
