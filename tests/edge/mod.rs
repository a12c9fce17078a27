//! The edge over sockets: origins, who somebody is, what they may and how much. What is refused reaches no backend.

mod admission;
mod connections;
mod cors;
mod handshake_origin;
mod http2_sockets;
mod identity;
mod limits;
mod messages;
mod modes;
mod policies;
mod preflight;
mod reload;
mod require;
mod world;
