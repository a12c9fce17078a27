//! From a name to addresses: resolving, and keeping what was resolved up to date.

pub(crate) mod addresses;
pub(crate) mod resolver;
