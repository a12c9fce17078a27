//! Everything of reading the file that is no key: placeholders, the tree of values with their places, typed reading, problems.

pub(crate) mod address;
pub(crate) mod diagnostics;
pub(crate) mod path_template;
pub(crate) mod pem;
pub(crate) mod placeholder;
pub(crate) mod problem;
pub(crate) mod scalar;
pub(crate) mod secret;
pub(crate) mod table;
pub(crate) mod tree;
pub(crate) mod typed_keys;
pub(crate) mod units;
pub(crate) mod value;
