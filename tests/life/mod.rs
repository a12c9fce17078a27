//! The house's own life: admin API, commands, reload, rollout, leaving.

mod admin;
mod commands;
pub mod feed;
mod live;
mod reload;
mod rollout;
pub mod socket;
mod tried;
pub mod world;
