//! What the hub promises, seen from its three sides: feed, subscriber, configuration.

mod bounds;
mod joining;
mod lag;
mod life;
mod support;
