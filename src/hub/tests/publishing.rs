//! How a test publishes in the place of a feed: at once. Where memory is short a feed would wait for its readers then.

use bytes::Bytes;
use futures_util::FutureExt;

use super::support::*;
use crate::error::Code;
use crate::event::{Draft, End, GapWhy};
use crate::hub::{DocumentChange, Fenced, Publication, Publisher, Start};

impl Publisher {
    /// Publishes events.
    pub(crate) fn events(&self, drafts: Vec<Draft>) {
        self.at_once(Publication::Events(drafts));
    }

    /// Publishes a document.
    pub(crate) fn document(&self, document: Bytes, change: DocumentChange) {
        self.at_once(Publication::Document(document, change));
    }

    /// Publishes a loss.
    pub(crate) fn gap(&self, why: GapWhy) {
        self.at_once(Publication::Gap(why));
    }

    fn at_once(&self, what: Publication) {
        // A topic that is over takes nothing, which some tests are about.
        let _published_or_fenced = self.publish(what, None).now_or_never();
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_over_takes_nothing_more() {
    let world = World::new(ROOMY);
    let _joined = world.join(&public(sse(), window(10)), Start::Live);
    let feed = world.feed().await;
    feed.end(End {
        code: Code::UpstreamClosed,
        status: 200,
        retry_ms: None,
        is_final: true,
    });
    let events = Publication::Events(vec![draft("1", None)]);
    assert_eq!(feed.publish(events, None).await, Err(Fenced));
}
