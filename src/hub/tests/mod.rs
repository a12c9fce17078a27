//! What the hub promises, seen from its three sides: feed, subscriber, configuration.

mod joining;
mod support;
