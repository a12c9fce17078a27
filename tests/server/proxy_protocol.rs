//! The PROXY protocol in front of connections: whose they are then, and who may say so.

use std::time::{Duration, Instant};

use crate::harness::{Backend, EVERYTHING, Peer, Proxy, request};

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n";
const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n";

/// A header of version 2.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[command, family][..],
        &length,
        body,
    ]
    .concat()
}

fn binary_v4() -> Vec<u8> {
    let addresses = [192, 0, 2, 8, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];
    // A field that nobody asked for.
    binary(0x21, 0x11, &[&addresses[..], &[4, 0, 1, 0]].concat())
}

async fn started(mode: &str, trusted: &str) -> (Backend, Proxy) {
    let backend = Backend::ok().await;
    let server = format!("proxy_protocol = \"{mode}\"\n{trusted}");
    let proxy = Proxy::before(&backend, &server, EVERYTHING).await;
    (backend, proxy)
}

/// What the backend hears of the way here, after these bytes and a request; `None` where the connection was closed.
async fn way(
    backend: &Backend,
    proxy: &Proxy,
    header: &[u8],
    fields: &str,
) -> Option<(String, String)> {
    let before = backend.seen().len();
    let mut client = proxy.client().await;
    let request = request("GET /", fields, "");
    client.send([header, request.as_bytes()].concat()).await;
    client.try_head().await?;
    let seen = backend.seen();
    let [seen] = &seen[before..] else {
        panic!("{seen:?}");
    };
    let field = |name| seen.field(name).unwrap_or_default().to_owned();
    Some((field("x-real-ip"), field("x-forwarded-for")))
}

fn counted(proxy: &Proxy, reason: &str) -> f64 {
    let text = proxy.metrics();
    let name = format!("crossfade_refused_total{{reason=\"{reason}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0.0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn trusted_proxy_names_the_client_of_a_connection() {
    for mode in ["optional", "require"] {
        let (backend, proxy) = started(mode, TRUSTED).await;
        let spoofed = "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n";
        let unnamed = b"PROXY UNKNOWN\r\n";
        let unix = binary(0x21, 0x31, &[0; 216]);
        let inner = b"PROXY TCP4 10.9.9.9 10.0.0.1 12345 443\r\n";
        for (header, ip, forwarded) in [
            (LINE.to_vec(), "192.0.2.7", "192.0.2.7"),
            (binary_v4(), "192.0.2.8", "192.0.2.8"),
            // The client is a trusted proxy itself: what it forwards is believed.
            (inner.to_vec(), "6.6.6.6", "6.6.6.6, 10.9.9.9"),
            // The proxy's own, as if there were no header.
            (binary(0x20, 0x00, b""), "6.6.6.6", "6.6.6.6, 127.0.0.1"),
            // Somebody's without a name: nothing that it forwards is believed.
            (unnamed.to_vec(), "127.0.0.1", "127.0.0.1"),
            (unix, "127.0.0.1", "127.0.0.1"),
        ] {
            let told = way(&backend, &proxy, &header, spoofed).await;
            let expected = Some((ip.to_owned(), forwarded.to_owned()));
            assert_eq!(told, expected, "{mode} {}", header.escape_ascii());
        }
    }
}

#[tokio::test]
async fn a_connection_without_it_passes_where_it_is_optional_only() {
    let (backend, proxy) = started("optional", TRUSTED).await;
    let forwarded = "X-Forwarded-For: 6.6.6.6\r\n";
    let told = way(&backend, &proxy, b"", forwarded).await;
    assert_eq!(told, Some(("6.6.6.6".into(), "6.6.6.6, 127.0.0.1".into())));
    // This begins like one.
    let mut client = proxy.client().await;
    assert_eq!(client.ask("PROPFIND /", "", "").await.status(), 200);

    let (backend, proxy) = started("require", TRUSTED).await;
    assert_eq!(way(&backend, &proxy, b"", "").await, None);
    assert_eq!(counted(&proxy, "proxy_missing"), 1.0);
    assert_eq!(backend.seen().len(), 0);
}

#[tokio::test]
async fn untrusted_peer_is_not_believed() {
    for header in [
        LINE.to_vec(),
        binary_v4(),
        b"PROXY TCP4 broken\r\n".to_vec(),
    ] {
        let (backend, proxy) = started("optional", "").await;
        assert_eq!(way(&backend, &proxy, &header, "").await, None);
        assert_eq!(counted(&proxy, "proxy_untrusted"), 1.0);
        assert_eq!(backend.seen().len(), 0);
        let told = way(&backend, &proxy, b"", "").await;
        assert_eq!(told, Some(("127.0.0.1".into(), "127.0.0.1".into())));
    }
    let (_backend, proxy) = started("require", "").await;
    let mut client = proxy.client().await;
    assert_eq!(client.rest().await, b"", "closed before it says a word");
    assert_eq!(counted(&proxy, "proxy_untrusted"), 1.0);

    let (backend, proxy) = started("off", TRUSTED).await;
    for header in [LINE.to_vec(), binary_v4()] {
        let mut client = proxy.client().await;
        client.send(header).await;
        assert_eq!(client.response().await.status(), 400);
    }
    assert_eq!(backend.seen().len(), 0);
}

#[tokio::test]
async fn what_makes_no_sense_is_closed() {
    let (backend, proxy) = started("optional", TRUSTED).await;
    let endless = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
    let oversize = [b"\r\n\r\n\0\r\nQUIT\n", &[0x21, 0x11, 0xff, 0xff][..]].concat();
    let headers = [
        b"PROXY TCP4 a b 1 2\r\n".to_vec(),
        endless,
        oversize,
        binary(0x21, 0x12, &[0; 12]),
        binary(0x31, 0x11, &[0; 12]),
    ];
    for (number, header) in headers.iter().enumerate() {
        let told = way(&backend, &proxy, header, "").await;
        assert_eq!(told, None, "{}", header.escape_ascii());
        assert_eq!(counted(&proxy, "proxy_malformed"), (number + 1) as f64);
    }
    assert_eq!(backend.seen().len(), 0);
}

#[tokio::test]
async fn it_has_its_time_however_it_drips() {
    let (backend, proxy) = {
        let backend = Backend::ok().await;
        let server = format!(
            "proxy_protocol = \"optional\"\n{TRUSTED}[server.limits]\nheader_timeout = \"300ms\"\n"
        );
        let proxy = Proxy::before(&backend, &server, EVERYTHING).await;
        (backend, proxy)
    };
    let mut client = proxy.client().await;
    let begun = Instant::now();
    for byte in LINE {
        if !client.try_send([*byte]).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.rest().await, b"");
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(300)..Duration::from_secs(3)).contains(&took),
        "{took:?}"
    );
    assert_eq!(counted(&proxy, "proxy_timeout"), 1.0);
    // In two pieces and in time it is one.
    let (first, second) = LINE.split_at(20);
    let mut client = proxy.client().await;
    client.send(first).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    client.send(second).await;
    assert_eq!(client.ask("GET /", "", "").await.status(), 200);
    assert_eq!(backend.only().field("x-real-ip"), Some("192.0.2.7"));
}

#[tokio::test]
async fn clients_are_counted_by_the_address_that_is_told() {
    let backend = Backend::ok().await;
    let server =
        format!("proxy_protocol = \"require\"\n{TRUSTED}[server.limits]\nconnections_per_ip = 1\n");
    let proxy = Proxy::before(&backend, &server, EVERYTHING).await;
    let ask = async |header: &[u8]| {
        let mut client: Peer = proxy.client().await;
        client.send(header).await;
        let status = client.ask("GET /", "", "").await.status();
        (client, status)
    };
    let (first, status) = ask(LINE).await;
    assert_eq!(status, 200);
    assert_eq!(ask(LINE).await.1, 503);
    let (_other, status) = ask(&binary_v4()).await;
    assert_eq!(status, 200);
    // The proxy itself is not counted, nor is somebody whom it does not name.
    let (_own, _unnamed) = (
        ask(&binary(0x20, 0, b"")).await,
        ask(b"PROXY UNKNOWN\r\n").await,
    );
    assert_eq!((_own.1, _unnamed.1), (200, 200));
    assert_eq!(ask(b"PROXY UNKNOWN\r\n").await.1, 200);
    drop(first);
    crate::harness::within("the place is free", async {
        while ask(LINE).await.1 != 200 {}
    })
    .await;
}
