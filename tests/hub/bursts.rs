//! Whatever comes at once comes whole and in order to every client that reads.

use crate::harness::{Socket, proxy};

const READERS: usize = 12;

/// Reads up to this number; nothing twice, nothing missing, no gap.
async fn read(socket: &mut Socket, mut last: u64, to: u64) {
    while last < to {
        let frame = socket.frame_unless("ev", "gap").await;
        assert_eq!(frame["d"]["n"], last + 1);
        last += 1;
    }
}

async fn read_raw(socket: &mut Socket, mut last: u64, to: u64) {
    while last < to {
        assert_eq!(socket.message().await["n"], last + 1);
        last += 1;
    }
}

async fn bursts_come_whole() {
    let proxy = proxy().sse("/ids").start().await;
    let mut readers = Vec::new();
    for n in 0..READERS {
        if n % 3 == 0 {
            readers.push((proxy.open("/ids", &[]).await, true));
            continue;
        }
        let mut socket = proxy.join(&[]).await;
        socket.subscribe(1, "/ids").await;
        readers.push((socket, false));
    }
    // It never reads, which costs the other clients nothing.
    let mut stalled = proxy.join(&[]).await;
    stalled.subscribe(1, "/ids").await;
    while proxy.handle.shared().hub.topics()[0].subscribers <= READERS {
        tokio::task::yield_now().await;
    }
    let mut last = 0;
    for (count, is_cut) in [(600, false), (20_000, false), (5_000, true)] {
        if is_cut {
            proxy.app().cut();
        }
        let to = proxy.app().publish_many(count);
        let mut reading = tokio::task::JoinSet::new();
        for (mut socket, is_raw) in readers.drain(..) {
            reading.spawn(async move {
                match is_raw {
                    true => read_raw(&mut socket, last, to).await,
                    false => read(&mut socket, last, to).await,
                }
                (socket, is_raw)
            });
        }
        readers = reading.join_all().await;
        last = to;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bursts_come_whole_with_one_worker() {
    bursts_come_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bursts_come_whole_with_four_workers() {
    bursts_come_whole().await;
}
