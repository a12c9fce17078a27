//! Forwarding headers: an untrusted peer sets none of them, and those of a trusted proxy stay readable.

#![no_main]

use std::net::IpAddr;

use crossfade::config::Underscores;
use crossfade::http::forwarded::{Peer, client, rebuild, text};
use crossfade::http::host::Host;
use crossfade::http::{header_names, hop_by_hop};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

// The sender: a stranger, a trusted proxy, a unix socket. Each line is a field.
fuzz_target!(|input: (u8, &[u8])| {
    let (who, lines) = input;
    let trusted = ["10.0.0.0/8".parse().expect("an address block")];
    let ip = [Some([192, 0, 2, 7]), Some([10, 0, 0, 1]), None][usize::from(who % 3)];
    let peer = Peer::new(ip.map(IpAddr::from), &trusted);
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = HeaderValue::from_bytes(value.strip_prefix(b":").unwrap_or(value));
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            headers.append(name, value);
        }
    }
    let policy = match who & 0x80 {
        0 => Underscores::Drop,
        _ => Underscores::Allow,
    };
    if header_names::disambiguate(&mut headers, policy).is_err() {
        return;
    }
    hop_by_hop::strip(&mut headers);
    let host = Host::parse(&HeaderValue::from_static("a.example:8080")).expect("a host");
    let own = text(peer.ip);
    let told = client(&headers, peer, &own, &host, &trusted);
    rebuild(&mut headers, peer, &own, &told);

    let ip: &str = &told.ip;
    assert!(ip == "unix" || ip.parse::<IpAddr>().is_ok());
    for name in ["x-forwarded-for", "forwarded"] {
        assert_eq!(headers.get_all(name).iter().count(), 1, "{name}");
    }
    if peer.is_trusted {
        return;
    }
    for (name, value) in &headers {
        if header_names::is_forwarded(name.as_str()) {
            let value = value.to_str().expect("our own words");
            assert!(
                [
                    "192.0.2.7",
                    "a.example:8080",
                    "http",
                    "for=192.0.2.7;host=\"a.example:8080\";proto=http"
                ]
                .contains(&value),
                "{name}: {value}"
            );
        }
    }
});
