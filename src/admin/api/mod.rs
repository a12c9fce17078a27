//! The functions of the admin API, one file an endpoint; [`commands`] are what they ask of the task that owns the configuration.

pub(super) mod close;
pub(super) mod commands;
pub(super) mod config;
pub(super) mod drain;
pub(super) mod explain;
pub(super) mod health;
pub(super) mod notify;
pub(super) mod revoke;
pub(super) mod rollouts;
pub(super) mod sessions;
pub(super) mod topics;
pub(super) mod upgrade;
