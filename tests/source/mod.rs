//! What a backend is asked for, and what its answers become.

mod idle;
mod patches;
mod requests;
