//! The admin API.

mod api;
mod explain;
mod explain_namespace;
mod namespaces;
