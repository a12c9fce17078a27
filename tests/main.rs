//! Stories over real sockets, and rules over the whole house.

mod bridge;
mod floors;
mod handshake;
mod life;
mod limits;
mod passthrough;
mod smuggling;
mod support;
mod tunnel;
