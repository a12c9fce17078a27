//! A request's path: canonical once and for all, with the segments that were sent.

#![no_main]

use crossfade::http::path::canonical;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &str| {
    let Ok(first) = canonical(raw) else { return };
    let path = first.as_ref();
    assert!(path.starts_with('/') && path.is_ascii());
    assert!(
        !path
            .split('/')
            .any(|segment| segment == "." || segment == "..")
    );
    assert_eq!(path.split('/').count(), raw.split('/').count());
    let second = canonical(path).expect("a canonical path is accepted");
    assert_eq!(path, second.as_ref());
});
