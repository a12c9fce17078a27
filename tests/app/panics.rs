//! A bug costs one connection. The bug is the test's own: a log subscriber that panics at a certain line, in the very task
//! that wrote it.

use std::fmt::Debug;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::harness::{Backend, Proxy, eventually};

/// The line that nobody survives.
const FATAL: &str = "/fatal";

struct Buggy;

struct Looking {
    is_fatal: bool,
}

impl Visit for Looking {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        self.is_fatal |= format!("{value:?}").contains(FATAL);
    }
}

impl Subscriber for Buggy {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut looking = Looking { is_fatal: false };
        event.record(&mut looking);
        assert!(!looking.is_fatal, "the bug of this test");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn panic_in_a_connection_ends_it_alone_and_is_counted() {
    let _bug = tracing::subscriber::set_default(Buggy);
    let backend = Backend::ok().await;
    let route = "[[route]]\nname = \"/fatal\"\npath = \"/boom\"\nupstream = \"app\"\n\
                 [[route]]\npath = \"/{*path}\"\nupstream = \"app\"\n";
    let proxy = Proxy::before(&backend, "", route).await;
    let mut witness = proxy.client().await;
    assert_eq!(witness.ask("GET /", "", "").await.status(), 200);
    // Another test's thread, which has no subscriber, may have been the first to meet the line.
    tracing::callsite::rebuild_interest_cache();
    let mut victim = proxy.client().await;
    victim
        .send(crate::harness::request("GET /boom", "", ""))
        .await;
    assert_eq!(victim.rest().await, b"", "its connection is closed");
    eventually("the count", async || {
        proxy.metrics().contains("crossfade_panics_total 1\n")
    })
    .await;
    assert_eq!(witness.ask("GET /", "", "").await.status(), 200);
    assert_eq!(
        proxy.client().await.ask("GET /", "", "").await.status(),
        200
    );
}
