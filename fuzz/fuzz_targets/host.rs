//! `Host`, and a target that may contradict it: one name in one spelling, or refused.

#![no_main]

use crossfade::http::host::{self, Host};
use hyper::Request;
use hyper::header::{HOST, HeaderValue};
use libfuzzer_sys::fuzz_target;

// The first line is a target, each other one a `Host`.
fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut request = Request::get(lines.next().unwrap_or_default());
    for line in lines {
        request = request.header(HOST, line);
    }
    let Ok(request) = request.body(()) else {
        return;
    };
    let (head, ()) = request.into_parts();
    let Ok(found) = host::of(&head) else { return };
    assert_eq!(head.headers.get_all(HOST).iter().count(), 1);
    assert_eq!(found.name, found.name.to_ascii_lowercase());
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    assert!(!found.name.is_empty() && found.name.bytes().all(is_name));
    // What was taken apart means the same when it is put together.
    let again = match found.port {
        Some(port) => format!("{}:{port}", found.name),
        None => found.name.clone(),
    };
    let again = HeaderValue::from_str(&again).expect("a field value");
    let again = Host::parse(&again).expect("a host");
    assert_eq!((again.name, again.port), (found.name, found.port));
});
