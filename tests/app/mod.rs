//! The process: reload, upgrade, service manager, panics.

mod ownership;
mod panics;
mod reload;
mod systemd;
mod upgrade;
