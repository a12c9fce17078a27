//! Connections towards backends: which are kept, which are trusted, what goes over them, where they lead.

mod bound;
mod http2;
mod iis;
mod names;
mod pool;
mod streams;
mod tls;
