//! What a stream sends to every new connection, and what that makes of `join`.

use std::time::Duration;

use super::finding::{Finding, warning};
use crate::config::Join;
use crate::source::sse::decode::Decoder;

/// How long after the head events count as the beginning.
pub(crate) const TIME: Duration = Duration::from_millis(300);

/// What the stream has sent within that time.
pub(crate) fn told(key: String, path: &str, join: Join, bytes: &[u8]) -> Finding {
    let (mut decoder, mut messages) = (Decoder::new(None), Vec::new());
    // One event above the limit is enough to know that there is a beginning.
    let is_too_large = decoder.feed(bytes, &mut messages).is_err();
    let count = messages.len() + usize::from(is_too_large);
    let has_ids = messages.iter().any(|message| message.has_own_id);
    seen(key, path, join, count, has_ids)
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
