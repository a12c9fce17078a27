//! A client that does not read costs its neighbours nothing, and is told what it lost.

use std::time::Duration;

use super::world::World;

/// Large enough to fill what the kernel keeps for a socket.
const PADDING: usize = 64 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_get_everything_beside_those_who_do_not_read() {
    let world = World::with_padding(PADDING).await;
    let (mut closed, mut skipped, mut readers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let mut socket = world.sidecar.join(&[]).await;
        socket.subscribe(1, "/ids").await;
        closed.push(socket);
        let mut socket = world.sidecar.join(&[]).await;
        socket.subscribe(1, "/plain").await;
        skipped.push(socket);
        let mut socket = world.sidecar.join(&[]).await;
        socket.subscribe(1, "/ids").await;
        readers.push(socket);
    }
    for n in 1..=400u64 {
        world.publish();
        for reader in &mut readers {
            assert_eq!(reader.frame_unless("ev", "gap").await["d"]["n"], n);
        }
    }
    // They are given ten seconds in which they take nothing.
    let slow = || world.sidecar.metrics();
    while !slow().contains(r#"crossfade_slow_closes_total{route="ids"} 5"#) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for n in 401..=500u64 {
        world.publish();
        for reader in &mut readers {
            assert_eq!(reader.frame_unless("ev", "gap").await["d"]["n"], n);
        }
    }
    // By default a slow reader is closed, with a code that says: come back where you were.
    for socket in &mut closed {
        assert_eq!(socket.closed().await, 4113);
    }
    // Where the route says so, it skips with one gap.
    for socket in &mut skipped {
        let (mut n, mut gaps) = (0, 0);
        while n < 500 {
            let frame = socket.either("ev", "gap").await;
            if frame["t"] == "gap" {
                gaps += 1;
                assert_eq!(frame["why"], "slow");
                continue;
            }
            let next = frame["d"]["n"].as_u64().unwrap();
            assert!(next == n + 1 || gaps == 1, "{n} {next}");
            n = next;
        }
        assert_eq!(gaps, 1);
    }
}
