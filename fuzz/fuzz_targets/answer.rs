//! A backend's answers as bytes: the same verdict, and the same bytes for the engine, however they are cut.

#![no_main]

use crossfade::http::parser::response::{Answers, Asked, ResponseViolation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    for asked in [Asked::Other, Asked::Head, Asked::Upgrade] {
        let whole = scan(asked, bytes.chunks(bytes.len().max(1)));
        let pieces = scan(asked, bytes.chunks(usize::from(cut).max(1)));
        assert_eq!(whole, pieces);
    }
});

fn scan<'a>(
    asked: Asked,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, ResponseViolation> {
    let mut answers = Answers::new(200);
    let mut given = Vec::new();
    answers.expect(asked);
    for piece in pieces {
        let as_it_is = answers.feed(piece)?;
        given.extend_from_slice(&piece[..as_it_is]);
        given.extend(answers.anew());
    }
    Ok(given)
}
