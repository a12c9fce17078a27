//! The process as an operator has it: under a service manager, with its log, its metrics and its traces.

mod logs;
mod process;
mod systemd;
mod traces;
