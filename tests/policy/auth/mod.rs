//! Every kind of credential at every entrance, on live connections, and what a backend hears of it.
//! Where a request is refused, the backend's requests are counted.

mod api_keys;
mod authority;
mod csrf;
mod doors;
mod identity;
mod keys;
mod live;
mod passed;
mod places;
mod rechecks;
mod require;
mod revoke;
mod tickets;
mod tokens;
mod topics;
mod world;

pub use require::SPELLINGS;
