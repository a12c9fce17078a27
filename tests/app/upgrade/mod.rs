//! One process takes another's place: sockets, replay windows, and what happens where that fails.

mod failing;
mod sockets;
mod windows;
mod world;
