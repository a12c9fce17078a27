//! Who somebody is, over real sockets: every kind of credential at every door, live connections, and what a backend hears.
//! Where something is refused, the backend's requests are counted.

mod api_keys;
mod authority;
mod csrf;
mod doors;
mod keys;
mod live;
mod passed;
mod places;
mod rechecks;
mod revoke;
mod tickets;
mod tokens;
mod topics;
mod world;
