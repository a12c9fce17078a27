//! Stories over real sockets.

mod ahead;
mod auth;
mod bridge;
mod cohort;
mod early;
mod edge;
mod fleet;
mod handover;
mod handshake;
mod harness;
mod http;
mod http2;
mod legacy;
mod life;
mod limits;
mod loops;
mod ops;
mod passthrough;
mod proxied;
mod quiet;
mod scarcity;
mod sharing;
mod tls;
mod tunnel;
mod upstream;
