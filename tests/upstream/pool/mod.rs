//! Which connections are kept, which are trusted, and what goes over them.

mod bound;
mod http2;
mod iis;
mod kept;
mod streams;
mod tls;
