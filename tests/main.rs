//! Stories over real sockets.

mod handover;
mod harness;
mod http;
mod hub;
mod life;
mod ops;
mod policy;
mod proxy;
mod server;
mod session;
mod source;
mod transport;
mod upstream;
