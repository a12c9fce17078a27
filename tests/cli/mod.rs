//! The real binary's commands.

mod check_live;
mod commands;
mod demo;
