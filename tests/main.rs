//! Stories over real sockets.

mod bridge;
mod fleet;
mod handover;
mod harness;
mod http;
mod life;
mod ops;
mod policy;
mod proxy;
mod server;
mod sharing;
mod upstream;
