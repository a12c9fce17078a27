//! Engine.IO 4: packets, their form in HTTP bodies, the handshake and the errors. What moves them is a transport's matter.

pub mod error;
pub mod handshake;
pub mod packet;
pub mod payload;
