//! Stories over real sockets.

mod auth;
mod bridge;
mod edge;
mod fleet;
mod handover;
mod harness;
mod http;
mod life;
mod ops;
mod proxy;
mod server;
mod sharing;
mod upstream;
