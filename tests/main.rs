//! Stories over real sockets, and rules over the whole house.

mod floors;
mod passthrough;
mod support;
mod life;
