//! Who somebody is: what they present, who vouches for it, and what they may do.

mod admission;
pub mod api_key;
mod authenticator;
pub mod credential;
pub mod csrf;
pub mod denied;
pub mod expiry;
pub mod forward;
pub mod identity;
pub mod jwks;
pub mod jwt;
mod known;
pub mod revocation;
mod tenure;
pub mod ticket;

pub use admission::{Admission, Ticketed};
pub use authenticator::{Asking, Authenticator, Check, context, unix_now, unix_time};
pub use credential::{Credential, Found, Place};
pub use denied::Denied;
pub use forward::Context;
pub use identity::Identity;
