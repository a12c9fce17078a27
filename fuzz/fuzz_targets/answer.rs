//! A backend's answers as bytes: the same verdict however they are cut.

#![no_main]

use crossfade::edge::hygiene::scan::answer::{Answers, Asked, Flaw};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    for asked in [Asked::Other, Asked::Head, Asked::Upgrade] {
        let whole = scan(asked, bytes.chunks(bytes.len().max(1)));
        let pieces = scan(asked, bytes.chunks(usize::from(cut).max(1)));
        assert_eq!(whole, pieces);
    }
});

fn scan<'a>(asked: Asked, mut pieces: impl Iterator<Item = &'a [u8]>) -> Result<(), Flaw> {
    let mut answers = Answers::new();
    answers.expect(asked);
    pieces.try_for_each(|piece| answers.feed(piece))
}
