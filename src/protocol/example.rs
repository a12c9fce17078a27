//! What tests of the protocols show to a subscriber.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::EventView;
use crate::config::{Route, parse};

/// A route that reads a stream.
static ROUTE: LazyLock<Arc<Route>> = LazyLock::new(|| route("source = \"sse\""));

/// An event as subscribers see it that know its topic by this number.
pub(super) fn seen_as(ch: u32) -> EventView<'static> {
    EventView {
        ch,
        route: &ROUTE,
        path: "/api/matters?a=1",
        data: None,
    }
}

/// A route with these keys beside the required ones.
pub(super) fn route(keys: &str) -> Arc<Route> {
    let text = format!(
        "[upstream.app]\nservers = [\"http://127.0.0.1:9\"]\n\n[[route]]\npath = \"/api/matters\"\nupstream = \"app\"\n{keys}\n"
    );
    let no_file = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let loaded = parse(&text, "proxy.toml", &|_| None, &no_file).expect("a valid file");
    loaded.config.routes[0].clone()
}
