//! The admin API.

mod api;
