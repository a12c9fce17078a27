//! Stories over real sockets.

mod auth;
mod bridge;
mod cohort;
mod edge;
mod fleet;
mod handover;
mod handshake;
mod harness;
mod http;
mod legacy;
mod life;
mod loops;
mod ops;
mod passthrough;
mod server;
mod sharing;
mod tunnel;
mod upstream;
