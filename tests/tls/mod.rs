//! TLS between clients and crossfade.

mod carried;
mod certificates;
mod handshakes;
mod refused;
mod reloaded;
