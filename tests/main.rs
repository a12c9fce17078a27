//! Stories over real sockets, and rules over the whole house.

mod ahead;
mod answers;
mod auth;
mod bridge;
mod cohort;
mod edge;
mod fleet;
mod floors;
mod gate;
mod handover;
mod handshake;
mod http2;
mod life;
mod limits;
mod loops;
mod ops;
mod passthrough;
mod proxied;
mod rfc;
mod scarcity;
mod sharing;
mod smuggling;
mod support;
mod tls;
mod tunnel;
mod upstream;
