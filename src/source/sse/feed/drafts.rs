//! What a stream's messages become in the log.

use std::sync::Arc;

use super::Follower;
use crate::config::Sse;
use crate::event::{Data, Draft};
use crate::source::sse::decode::Message;

#[derive(Default)]
pub(super) struct Drafts {
    pub events: Vec<Draft>,
    pub is_final: bool,
}

impl Follower {
    /// What the messages become; nothing after one that ends the stream for good.
    pub(super) fn drafts(
        &mut self,
        messages: &mut Vec<Message>,
        sse: &Sse,
        replay: usize,
    ) -> Drafts {
        let mut drafts = Drafts::default();
        for mut message in messages.drain(..) {
            let upstream = message.name.take();
            let upstream = upstream.as_deref().unwrap_or("message");
            message.name = match sse.events.get(upstream).map_or(upstream, String::as_str) {
                "message" => None,
                name => Some(Arc::from(name)),
            };
            // By the client's name: what another process has read is known by no other.
            if self.recent.is_repeated(&message, replay) {
                continue;
            }
            drafts.is_final = sse.final_events.iter().any(|last| last == upstream);
            drafts.events.push(Draft {
                name: message.name,
                id: message.id,
                has_own_id: message.has_own_id,
                data: Data::classify(message.data),
                change: None,
            });
            if drafts.is_final {
                break;
            }
        }
        drafts
    }
}
