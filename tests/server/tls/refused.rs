//! What is no TLS, or too slow, is closed and counted, and cannot flood the log.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{
    Backend, EVERYTHING, Peer, Proxy, eventually,
    tls::{Authority, passthrough},
    within,
};

fn counted(proxy: &Proxy, reason: &str) -> bool {
    let line = format!("crossfade_refused_total{{reason=\"{reason}\"}} 1\n");
    proxy.metrics().contains(&line)
}

#[tokio::test]
async fn plain_http_is_told_and_closed() {
    let authority = Authority::new();
    let (backend, proxy) = passthrough(&authority).await;
    let mut client = proxy.client().await;
    let answer = client.ask("GET /", "", "").await;
    assert_eq!(
        (answer.status(), answer.field("connection")),
        (400, Some("close"))
    );
    assert!(
        answer.json()["detail"].as_str().unwrap().contains("https"),
        "{}",
        answer.text()
    );
    assert_eq!(client.rest().await, b"");
    assert!(counted(&proxy, "plain_http"));
    assert_eq!(backend.seen().len(), 0);
}

#[tokio::test]
async fn unexpected_proxy_protocol_header_is_named_as_such() {
    let authority = Authority::new();
    let (_backend, proxy) = passthrough(&authority).await;
    let mut client = proxy.client().await;
    client.send("PROXY TCP4 192.0.2.7 10.0.0.1 1 1\r\n").await;
    assert_eq!(client.rest().await, b"");
    assert!(counted(&proxy, "proxy_untrusted"));
}

#[tokio::test]
async fn garbage_is_closed_without_a_word() {
    let authority = Authority::new();
    let (_backend, proxy) = passthrough(&authority).await;
    let mut client = proxy.client().await;
    client.send([0x80, 0x2e, 1, 0, 2]).await;
    assert_eq!(client.rest().await, b"", "SSL 2");
    eventually("it counts", async || counted(&proxy, "tls_garbage")).await;

    let mut client = proxy.client().await;
    client.send([22, 3, 1, 0, 5, 0xff, 0, 0, 1, 0]).await;
    let alert = client.rest().await;
    assert_eq!(alert.first(), Some(&21), "an alert: {alert:?}");

    // Nothing at all is what load balancers send to see whether a port answers.
    let client = proxy.client().await;
    drop(client);
    authority.connect(proxy.address).await;
    let refused = proxy.metrics();
    let refused = refused
        .lines()
        .filter(|line| line.starts_with("crossfade_refused_total{"));
    let sum: f64 = refused
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(sum, 2.0);
}

#[tokio::test]
async fn a_handshake_has_its_time_however_it_drips() {
    let authority = Authority::new();
    let backend = Backend::ok().await;
    let server = format!(
        "{}[server.limits]\nheader_timeout = \"400ms\"\nconnections = 1\n",
        authority.server("")
    );
    let proxy = Proxy::before(&backend, &server, EVERYTHING).await;
    let mut client = proxy.client().await;
    let begun = Instant::now();
    client.send([22, 3, 1, 2, 0, 1]).await;
    for _ in 0..200 {
        if !client.try_send([0]).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.rest().await;
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(400)..Duration::from_secs(3)).contains(&took),
        "{took:?}"
    );
    assert!(counted(&proxy, "tls_timeout"));
    // Its place is free again.
    let mut next = authority.connect(proxy.address).await;
    assert_eq!(next.ask("GET /", "", "").await.status(), 200);
}

#[tokio::test]
async fn client_above_the_limit_is_refused_over_tls() {
    let authority = Authority::new();
    let backend = Backend::ok().await;
    let server = format!("{}[server.limits]\nconnections = 1\n", authority.server(""));
    let proxy = Proxy::before(&backend, &server, EVERYTHING).await;
    let mut first = authority.connect(proxy.address).await;
    assert_eq!(first.ask("GET /", "", "").await.status(), 200);
    let mut second = authority.connect(proxy.address).await;
    let answer = second.response().await;
    assert_eq!(
        (answer.status(), answer.field("connection")),
        (503, Some("close"))
    );
    assert!(answer.field("retry-after").is_some());
    assert_eq!(second.rest().await, b"");
}

/// Fault 56: at most ten lines a second, and every one of the flood is counted.
#[tokio::test]
async fn a_flood_of_garbage_does_not_flood_the_log() {
    const FLOOD: usize = 600;
    let authority = Authority::new();
    let any = "listen = \"127.0.0.1:0\"";
    let config = format!(
        "[server]\n{any}\n{}[admin]\n{any}\n[upstream.app]\nservers = [\"http://127.0.0.1:9\"]\n{EVERYTHING}",
        authority.server("")
    );
    authority.write("proxy.toml", &config);
    let mut proxy = Command::new(env!("CARGO_BIN_EXE_crossfade"))
        .args(["run", "--config"])
        .arg(authority.path("proxy.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(proxy.stdout.take().unwrap())
        .read_line(&mut ready)
        .unwrap();
    let address = ready.strip_prefix("ready public=https://").unwrap();
    let (address, admin) = address.trim_end().split_once(" admin=http://").unwrap();
    let (address, admin) = (address.parse().unwrap(), admin.parse().unwrap());
    let lines = BufReader::new(proxy.stderr.take().unwrap()).lines();
    let reading = tokio::task::spawn_blocking(move || {
        let told = lines.map(|line| (Instant::now(), line.unwrap()));
        told.filter(|(_, line)| line.contains("connection refused"))
            .collect::<Vec<_>>()
    });

    for number in 0..FLOOD {
        let mut client = Peer::connect(address).await;
        let garbage: &[u8] = match number % 3 {
            0 => b"\0garbage",
            1 => b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
            _ => b"\r\n\r\n\0\r\nQUIT\n",
        };
        client.try_send(garbage).await;
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let mut sum = 0.0;
    within("all are counted", async {
        while sum < FLOOD as f64 {
            let mut asker = Peer::connect(admin).await;
            let metrics = asker.ask("GET /metrics", "", "").await.text();
            let refused = metrics
                .lines()
                .filter(|line| line.starts_with("crossfade_refused_total{"));
            sum = refused
                .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
                .sum();
        }
    })
    .await;
    assert_eq!(sum, FLOOD as f64);
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    let told = reading.await.unwrap();
    assert!(!told.is_empty());
    for (from, _) in &told {
        let second = told
            .iter()
            .filter(|(at, _)| (*from..*from + Duration::from_secs(1)).contains(at));
        // One more for the reader's own delay.
        assert!(second.count() <= 11, "{told:#?}");
    }
}
