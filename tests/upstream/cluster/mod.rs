//! Several servers: which one a request goes to, and whether it goes at all.

mod choosing;
mod failing;
mod limits;
mod world;
