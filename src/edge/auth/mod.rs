//! Who somebody is: what they present, who vouches for it, and what they may do.

pub mod api_key;
pub mod credential;
pub mod csrf;
mod denied;
pub mod forward;
pub mod identity;
pub mod jwks;
pub mod jwt;
pub mod revocation;
pub mod ticket;

pub use credential::{Credential, Found, Place};
pub use denied::Denied;
pub use identity::Identity;
