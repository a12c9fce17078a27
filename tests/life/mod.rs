//! The house's own life: admin API, commands, reload, rollout, leaving.

mod admin;
mod commands;
mod reload;
mod rollout;
mod tried;
