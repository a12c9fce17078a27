//! Frames of HTTP/2: which heads are found, and what they cost, does not depend on the pieces that the bytes come in.

#![no_main]

use std::time::Duration;

use crossfade::http::http2_frame_budget::{FrameAbuse, FrameBudget, FrameHead, Walk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = judge(bytes, bytes.len().max(1));
    for size in [1, 3, 8, 9, 13] {
        assert_eq!(judge(bytes, size), whole);
    }
    // Every head takes nine bytes at least.
    assert!(whole.0.len() <= bytes.len() / 9);
});

fn judge(bytes: &[u8], size: usize) -> (Vec<FrameHead>, Option<FrameAbuse>, bool) {
    let (mut walk, mut budget, mut heads) = (Walk::default(), FrameBudget::default(), Vec::new());
    for piece in bytes.chunks(size) {
        let judged = walk.feed(piece, |head| {
            heads.push(head);
            // Time is that of the bytes, not of the pieces.
            let now = Duration::from_millis(heads.len() as u64);
            budget.send(head, now)?;
            budget.receive(head, now)
        });
        if let Err(abuse) = judged {
            return (heads, Some(abuse), budget.in_block());
        }
    }
    (heads, None, budget.in_block())
}
