//! TLS between clients and crossfade.

mod carried;
pub mod certificates;
mod handshakes;
mod refused;
mod reloaded;
