//! Connections towards backends: which are kept, which are trusted, what goes over them, where they lead.

mod http2;
mod names;
mod pool;
mod tls;
mod world;
