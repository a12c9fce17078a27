//! What a stream sends to every new connection, and what that makes of `join`.

use std::time::Duration;

use super::fetch::Fetcher;
use super::finding::{Finding, Findings, warning};
use super::live::{get, host};
use crate::config::{Join, Route, Share, Source};
use crate::source::sse::decode::Decoder;

/// How long after the head events count as the beginning.
const BEGINNING: Duration = Duration::from_millis(300);

/// Whether `check` can ask for this stream without a user's credentials, and without knowing more than the file.
pub fn is_open(route: &Route) -> bool {
    let is_stream = matches!(route.source, Some(Source::Sse(_)));
    is_stream && route.share == Share::Public && !route.path.contains('{')
}

/// What the stream sends within its beginning.
pub async fn listen(fetcher: &Fetcher, route: &Route) -> Findings {
    let (Some(Source::Sse(sse)), Some(server)) = (&route.source, route.upstream.servers.first())
    else {
        return Vec::new();
    };
    let request = get(
        &route.path,
        host(&route.upstream, server),
        "text/event-stream",
    );
    let key = format!("route.{}.source", route.index);
    let bytes = match fetcher.listen(&route.upstream, request, BEGINNING).await {
        Ok(bytes) => bytes,
        Err(why) => {
            let what = format!(
                "{}: nothing is known of the stream's beginning: {why}",
                route.path
            );
            let fix = "start the backend, or name a path that answers with an event stream";
            return vec![warning(key, what, fix)];
        }
    };
    let (mut decoder, mut messages) = (Decoder::new(None), Vec::new());
    // One event above the limit is enough to know that there is a beginning.
    let is_too_large = decoder.feed(&bytes, &mut messages).is_err();
    let count = messages.len() + usize::from(is_too_large);
    let has_ids = messages.iter().any(|message| message.has_own_id);
    vec![seen(key, &route.path, sse.join, count, has_ids)]
}

fn seen(key: String, path: &str, join: Join, count: usize, has_ids: bool) -> Finding {
    let ids = match (count, has_ids) {
        (0, _) => "",
        (_, true) => ", with ids",
        (_, false) => ", without ids",
    };
    let (word, gives) = match (join, count, has_ids) {
        (Join::Live, _, _) | (Join::Auto, 0, _) => ("live", "what comes from now on"),
        (Join::Auto, _, true) | (Join::Own, _, _) => (
            "own",
            "a request of their own, until an event with an id comes by that the topic holds",
        ),
        (Join::Auto, _, false) | (Join::Window, _, _) => {
            ("window", "what the topic holds since its connection began")
        }
    };
    let join = match join {
        Join::Auto => "auto",
        Join::Live | Join::Window | Join::Own => word,
    };
    let what = format!(
        "{path} sends {count} events at the beginning{ids}: `join = \"{join}\"` gives newcomers {gives}"
    );
    warning(
        key,
        what,
        "nothing, where that is what they need; else write another `join`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_told_with_what_comes_of_it() {
        let told = |join, count, has_ids| {
            let finding = seen("route.0.source".into(), "/feed", join, count, has_ids);
            finding.what().to_owned()
        };
        let start = "/feed sends 3 events at the beginning, ";
        assert!(told(Join::Auto, 3, true).starts_with(&format!(
            "{start}with ids: `join = \"auto\"` gives newcomers a request of their own"
        )));
        assert!(told(Join::Auto, 3, false).ends_with("since its connection began"));
        assert!(told(Join::Auto, 0, false).contains("sends 0 events at the beginning: `join"));
        assert!(told(Join::Live, 3, true).ends_with("what comes from now on"));
    }
}
