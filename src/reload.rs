//! Triggers, load, apply.
