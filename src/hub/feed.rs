//! What fills topics: declared here, implemented by `source`, joined by `app`.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;

use super::history::lineage::Writer;
use super::key::Target;
use super::publisher::Publisher;
use super::registry::{Registry, Starter};
use super::topic::{Topic, internal};
use super::types::Phase;

/// What fills a topic: runs from the first subscriber until the linger time after the last. Whether it asks its backend meanwhile is its own
/// to decide ([`Publisher::is_attended`]).
/// Dropping the future stops it.
pub trait Feed: Send + Sync + 'static {
    /// Reads upstream and publishes, until it has called [`Publisher::end`] or is dropped.
    fn run(self: Box<Self>, topic: Publisher) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Makes the feed of a target; given by `app`.
pub(crate) type Feeds = Box<dyn Fn(Arc<Target>) -> Box<dyn Feed> + Send + Sync>;

/// Starts the feeds of topics, each in a task of its own.
pub(super) fn starter(feeds: Feeds) -> Starter {
    let feeds = Arc::new(feeds);
    Box::new(move |node, topic, writer| {
        let task = run(feeds.clone(), node.clone(), topic.clone(), writer);
        topic.runtime.spawn(task).abort_handle()
    })
}

/// Runs a topic's feed. A feed that panics, or stops without an end, ends its topic; one that is
/// aborted, or stops because another process publishes by now, leaves it as it is.
async fn run(feeds: Arc<Feeds>, node: Arc<Registry>, topic: Arc<Topic>, writer: Writer) {
    let publisher = Publisher::new(node.clone(), topic.clone(), writer);
    let run = async {
        let feed = feeds(topic.target.clone());
        feed.run(publisher.clone()).await;
    };
    let ran = AssertUnwindSafe(run).catch_unwind().await;
    if ran.is_err() {
        node.telemetry.life.panicked("feed");
    }
    if !matches!(topic.phase(), Phase::Ended(_)) && publisher.is_current() {
        node.end(&topic, internal());
    }
}
