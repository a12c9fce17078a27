//! A connection's requests as bytes: the same verdict however they are cut, and nothing is let through that another
//! parser would not take for requests of the same framing.

#![no_main]

use crossfade::http::RequestViolation;
use crossfade::http::parser::{HeadLimits, ScanPlace, Scanner};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = scan(bytes.chunks(bytes.len().max(1)));
    let pieces = scan(bytes.chunks(usize::from(cut).max(1)));
    assert_eq!(whole, pieces);
    let (heads, clear, _) = whole;
    assert!(clear <= bytes.len());
    assert!(heads <= clear / 16, "the shortest head has 16 bytes");
});

/// Heads, clear bytes, fault.
fn scan<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (usize, usize, Option<RequestViolation>) {
    let mut scanner = Scanner::new(HeadLimits {
        bytes: 512,
        fields: 8,
    });
    let (mut heads, mut clear, mut before) = (0, 0, 0);
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() {
            let scanned = scanner.feed(rest);
            heads += usize::from(scanned.head);
            clear = scanned.clear.map_or(clear, |at| before + at);
            before += scanned.seen;
            rest = &rest[scanned.seen..];
            if scanned.fault.is_some() || scanner.place() == ScanPlace::Paused {
                return (heads, clear, scanned.fault);
            }
        }
    }
    (heads, clear, None)
}
