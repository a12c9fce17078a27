//! Connections towards backends: which server, which connection, which address.

mod cluster;
mod dns;
mod pool;
