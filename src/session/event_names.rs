//! The names of events that metrics may show: those that the configuration has, and our own.

use std::sync::Arc;

use crate::config::{Config, Namespace, Source};

/// What crossfade says by itself, and the names of events that have none of their own.
const OWN: [&str; 10] = [
    "message",
    "snapshot",
    "patch",
    "merge",
    "error",
    "crossfade:notice",
    "crossfade:gap",
    "crossfade:state",
    "crossfade:end",
    "crossfade:drain",
];

/// What a namespace's clients may send and get.
pub(super) fn event_names(config: &Config, namespace: &Namespace) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = OWN.into_iter().map(Arc::from).collect();
    names.extend(namespace.greet.iter().map(|greet| greet.event.clone()));
    for rule in &namespace.on {
        names.push(rule.event.clone());
        names.extend(rule.reply.clone());
        names.extend(rule.error.clone());
    }
    for source in config
        .routes
        .iter()
        .filter_map(|route| route.source.as_ref())
    {
        match source {
            Source::Sse(sse) => {
                let texts = sse.events.values().chain(&sse.final_events);
                names.extend(texts.map(|name| Arc::from(name.as_str())));
            }
            Source::Poll(poll) => {
                let events = &poll.events;
                let four = [
                    &events.created,
                    &events.updated,
                    &events.deleted,
                    &events.snapshot,
                ];
                names.extend(four.into_iter().cloned());
            }
        }
    }
    names
}
