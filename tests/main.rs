//! Stories over real sockets.

mod admin;
mod app;
mod cli;
mod harness;
mod http;
mod hub;
mod policy;
mod proxy;
mod rollout;
mod server;
mod session;
mod source;
mod telemetry;
mod transport;
mod upstream;
