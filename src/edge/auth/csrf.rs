//! The double submit that a write with a cookie has to bring. Pure.
