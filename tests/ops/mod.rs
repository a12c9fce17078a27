//! The process as an operator has it: under a service manager, with its log, its metrics and its traces.

mod alarms;
mod logs;
mod metrics;
mod ownership;
mod panics;
mod systemd;
mod traces;
