//! What the hub promises, seen from its three sides: feed, subscriber, configuration.

mod alarms;
mod bounds;
mod ended;
mod first;
mod identity;
mod ids;
mod join;
mod joining;
mod lag;
mod life;
mod owners;
mod pools;
mod processes;
mod publishing;
mod roles;
mod support;
mod threads;
mod transfer;
mod walk;
