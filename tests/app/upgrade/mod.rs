//! One process takes another's place: sockets, replay windows, and what happens where that fails.

mod failing;
mod sessions;
mod sockets;
mod windows;
mod world;
