//! Certificates are replaced under live connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{
    Peer, eventually,
    tls::{Authority, certificate, connect, passthrough},
};

/// Whether a handshake shows this certificate now.
async fn shows(authority: &Authority, address: std::net::SocketAddr, pem: &str) -> bool {
    let stream = connect(address, "app.example", authority.client(None))
        .await
        .unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0] == certificate(pem)
}

async fn eventually_shows(authority: &Authority, address: std::net::SocketAddr, pem: &str) {
    crate::harness::within("the new certificate", async {
        while !shows(authority, address, pem).await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_swaps_fail_no_handshake_and_close_no_connection() {
    let authority = Arc::new(Authority::new());
    let (_backend, proxy) = passthrough(&authority).await;
    let address = proxy.address;
    let mut live = authority.connect(address).await;
    let (stop, shaken) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let shaking = tokio::spawn({
        let (authority, stop, shaken) = (authority.clone(), stop.clone(), shaken.clone());
        async move {
            let config = authority.client(None);
            while !stop.load(Ordering::Relaxed) {
                let stream = connect(address, "app.example", config.clone()).await;
                let mut client = Peer::new(stream.expect("a handshake"));
                assert_eq!(client.ask("GET /", "", "").await.status(), 200);
                shaken.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    for _ in 0..20 {
        let pair = authority.sign(&["app.example"]);
        authority.place("tls", &pair);
        proxy.handle.reload().await.unwrap();
        assert!(shows(&authority, address, &pair.certificate).await);
        assert_eq!(live.ask("GET /", "", "").await.status(), 200);
    }
    stop.store(true, Ordering::Relaxed);
    shaking.await.unwrap();
    assert!(shaken.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_replaced_file_is_noticed_and_a_bad_pair_is_refused() {
    let authority = Authority::new();
    let (_backend, proxy) = passthrough(&authority).await;
    let address = proxy.address;
    let refused = |count: usize| format!("crossfade_reloads_total{{result=\"invalid\"}} {count}\n");
    let first = std::fs::read_to_string(authority.path("tls.crt")).unwrap();

    // The certificate alone: its key does not fit.
    let pair = authority.sign(&["app.example"]);
    authority.write("tls.crt", &pair.certificate);
    eventually("it is refused", async || {
        proxy.metrics().contains(&refused(1))
    })
    .await;
    assert!(shows(&authority, address, &first).await);

    // Then its key: what was begun is done.
    authority.write("tls.key", &pair.key);
    eventually_shows(&authority, address, &pair.certificate).await;

    std::fs::remove_file(authority.path("tls.key")).unwrap();
    eventually("it is refused", async || {
        proxy.metrics().contains(&refused(2))
    })
    .await;
    authority.write("tls.key", "-----BEGIN PRIVATE KEY-----\ncanary\n");
    eventually("it is refused", async || {
        proxy.metrics().contains(&refused(3))
    })
    .await;
    assert!(shows(&authority, address, &pair.certificate).await);
}

#[tokio::test]
async fn tls_tickets_outlive_reloads_that_keep_certificates_only() {
    use rustls::HandshakeKind::{Full, Resumed};
    let authority = Authority::new();
    let (_backend, proxy) = passthrough(&authority).await;
    let config = authority.client(None);
    let kind = async || {
        let stream = connect(proxy.address, "app.example", config.clone())
            .await
            .unwrap();
        let kind = stream.get_ref().1.handshake_kind().unwrap();
        // The ticket comes with the answer.
        assert_eq!(Peer::new(stream).ask("GET /", "", "").await.status(), 200);
        kind
    };
    assert_eq!(kind().await, Full);
    proxy.edit(|text| text.replace("access = false", "access = false\nlevel = \"warn\""));
    assert!(proxy.handle.reload().await.unwrap().changed);
    assert_eq!(kind().await, Resumed);
    authority.place("tls", &authority.sign(&["app.example"]));
    assert!(proxy.handle.reload().await.unwrap().changed);
    assert_eq!(kind().await, Full);
}

#[tokio::test]
async fn that_tls_is_spoken_at_all_needs_a_restart() {
    let authority = Authority::new();
    let (_backend, proxy) = passthrough(&authority).await;
    proxy.edit(|text| {
        let (before, after) = text.split_once("[server.tls]").unwrap();
        let (_, after) = after.split_once("[admin]").unwrap();
        format!("{before}[admin]{after}")
    });
    match proxy.handle.reload().await {
        Err(crossfade::admin::Declined::RestartRequired(keys)) => {
            assert_eq!(keys, ["server.tls"]);
        }
        other => panic!("{other:?}"),
    }
    let mut client = authority.connect(proxy.address).await;
    assert_eq!(client.ask("GET /", "", "").await.status(), 200);
}
