//! Authentication and authorization: credentials, the authorities that verify them, and what a user may do.

pub(crate) mod api_key;
mod authenticated;
mod authenticator;
pub mod credential;
pub(crate) mod csrf;
pub(crate) mod error;
pub(crate) mod expiry;
pub(crate) mod forward;
pub(crate) mod identity;
pub(crate) mod jwks;
pub mod jwt;
mod lifetime;
pub mod revocation;
pub(crate) mod ticket;
mod token_cache;

pub(crate) use authenticated::{Authenticated, Ticketed};
pub(crate) use authenticator::{Asking, unix_now, unix_time};
pub use authenticator::{Authenticator, Check, context};
pub(crate) use credential::{Credential, CredentialPlace, Found};
pub(crate) use error::AuthError;
pub(crate) use forward::Context;
pub(crate) use identity::Identity;
