//! TLS between clients and crossfade.

mod carried;
mod handshakes;
mod refused;
mod reloaded;
