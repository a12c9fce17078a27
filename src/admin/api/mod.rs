//! The endpoints of the admin API, one file each; [`commands`] are what they ask of the task that owns the configuration.

pub(super) mod commands;
pub(super) mod config;
pub(super) mod explain;
pub(super) mod health;
pub(super) mod revoke;
pub(super) mod rollouts;
pub(super) mod sessions;
pub(super) mod topics;
pub(super) mod upgrade;
