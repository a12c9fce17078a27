//! The admin API.

mod api;
mod explain;
mod namespaces;
