//! Authentication and authorization: credentials, the authorities that verify them, and what a user may do.

pub mod api_key;
mod authenticated;
mod authenticator;
pub mod credential;
pub mod csrf;
pub mod error;
pub mod expiry;
pub mod forward;
pub mod identity;
pub mod jwks;
pub mod jwt;
mod lifetime;
pub mod revocation;
pub mod ticket;
mod token_cache;

pub use authenticated::{Authenticated, Ticketed};
pub use authenticator::{Asking, Authenticator, Check, context, unix_now, unix_time};
pub use credential::{Credential, Found, Place};
pub use error::AuthError;
pub use forward::Context;
pub use identity::Identity;
