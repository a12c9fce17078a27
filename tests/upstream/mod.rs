//! Connections towards backends: which server, which connection, which address.

mod bound;
mod http2;
mod iis;
mod names;
mod pool;
mod streams;
mod tls;
