//! What a client does to its connection ends that connection, costs little, and harms no other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::{
    Backend, EVERYTHING, Message, Process, admin,
    http2::Client,
    http2_frames::{
        CALM, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RESET, Raw, SETTINGS,
        WINDOW_UPDATE, asks, block, frame, get,
    },
    reply,
};

/// How much floods may make the process grow.
const GROWTH: u64 = 5 * 1024 * 1024;

/// How long each flood is kept up, by one connection after the other.
const FLOOD: Duration = Duration::from_millis(700);

/// How long the next connection waits.
const BREATH: Duration = Duration::from_millis(20);

/// How often it is tried whether somebody else is slowed down.
const ATTEMPTS: usize = 5;

/// How much slower somebody else's requests may become by it, in the median.
const SLOWER: u32 = 2;

/// What a median may differ by on a busy machine anyway.
const NOISE: Duration = Duration::from_millis(3);

/// The real binary before a backend: its memory is its own.
struct Flooded {
    backend: Backend,
    proxy: Process,
    address: SocketAddr,
}

impl Flooded {
    async fn start() -> Flooded {
        Flooded::before(Backend::ok().await, "")
    }

    fn before(backend: Backend, limits: &str) -> Flooded {
        let proxy = Process::before(&backend, "", limits, EVERYTHING);
        Flooded {
            address: proxy.address(),
            backend,
            proxy,
        }
    }

    /// Floods it with `begin` and then `round` after `round`, by one connection after the other,
    /// while somebody else is served. Each connection is ended for it, and that is counted.
    async fn floods(&self, reasons: &[&str], begin: &[u8], round: impl Fn(u32) -> Vec<u8>) {
        let other = Client::connect(self.address).await;
        self.flood(begin, &round).await;
        let before = self.memory();
        // A busy machine has moments of its own: what is so is so more than once.
        let mut slower = Vec::new();
        for _ in 0..ATTEMPTS {
            let rest = tokio::time::sleep(FLOOD);
            let quiet = self.median(&other, rest).await;
            let until = Instant::now() + FLOOD;
            let flooded = self.median(&other, async {
                while Instant::now() < until {
                    self.flood(begin, &round).await;
                    tokio::time::sleep(BREATH).await;
                }
            });
            let flooded = flooded.await;
            if flooded < quiet * SLOWER + NOISE {
                slower.clear();
                break;
            }
            slower.push((quiet, flooded));
        }
        assert!(slower.is_empty(), "{reasons:?}: {slower:?}");
        let grown = self.memory().saturating_sub(before);
        assert!(grown < GROWTH, "{reasons:?}: {grown} bytes more");
        assert_eq!(other.get("/").await.status(), 200);
        let counted = self.refused().await;
        let known = reasons.iter().any(|reason| counted.contains(*reason));
        assert!(known, "{reasons:?}: {counted}");
        let target = |seen: &Message| seen.target() == "/never";
        let asked = self.backend.seen().iter().any(target);
        assert!(!asked, "{reasons:?}: the backend was asked");
    }

    /// One connection, to its end.
    async fn flood(&self, begin: &[u8], round: &impl Fn(u32) -> Vec<u8>) {
        let mut raw = Raw::connect(self.address).await;
        raw.send(begin).await;
        for number in 0..200_000 {
            if !raw.send(&round(number)).await {
                break;
            }
        }
        let code = raw.end().await;
        // What was on its way when the connection was closed may have destroyed the farewell.
        assert!(matches!(code, None | Some(CALM)), "{code:?}");
    }

    /// The median of somebody else's requests while something goes on.
    async fn median(&self, other: &Client, going_on: impl Future<Output = ()>) -> Duration {
        let mut times = Vec::new();
        tokio::pin!(going_on);
        loop {
            let begun = Instant::now();
            let answer = other.get("/").await;
            assert_eq!(answer.status(), 200);
            times.push(begun.elapsed());
            let pause = tokio::time::sleep(Duration::from_millis(2));
            tokio::select! {
                () = &mut going_on => break,
                () = pause => {}
            }
        }
        times.sort();
        times[times.len() / 2]
    }

    /// The lines of `refused_total`.
    async fn refused(&self) -> String {
        let metrics = admin::get(&self.proxy.admin, "/metrics").await.text;
        let lines = metrics
            .lines()
            .filter(|line| line.contains("refused_total{"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Resident memory, in bytes.
    fn memory(&self) -> u64 {
        self.proxy.memory("VmRSS")
    }
}

#[tokio::test]
async fn streams_opened_and_reset_at_once() {
    let world = Flooded::start().await;
    let head = get("/reset");
    // The engine has a limit of its own for streams that are gone before anybody saw them.
    world
        .floods(&["h2_resets", "h2_flood"], &[], |number| {
            let stream = number * 2 + 1;
            let opened = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
            [opened, frame(RESET, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .await;
}

#[tokio::test]
async fn streams_that_are_reset_after_they_were_seen() {
    let world = Flooded::start().await;
    let head = get("/reset");
    let mut raw = Raw::connect(world.address).await;
    let mut opened = 0;
    for number in 0..2000_u32 {
        let stream = number * 2 + 1;
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        if !raw.send(&head).await {
            break;
        }
        opened += 1;
        tokio::time::sleep(Duration::from_micros(300)).await;
        raw.send(&frame(RESET, 0, stream, &8_u32.to_be_bytes()))
            .await;
    }
    assert!(opened < 1000, "{opened}");
    assert!(matches!(raw.end().await, None | Some(CALM)));
    assert!(world.refused().await.contains("h2_resets"));
}

#[tokio::test]
async fn streams_that_the_client_makes_us_reset() {
    let world = Flooded::start().await;
    let head = asks("POST", "/reset", &[]);
    world
        .floods(&["h2_resets", "h2_window_updates"], &[], |number| {
            let stream = number * 2 + 1;
            let opened = frame(HEADERS, END_HEADERS, stream, &head);
            // More than a window can be. Where the engine is slow to say so, these frames end it.
            let more = frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
            [opened, more].concat()
        })
        .await;
}

#[tokio::test]
async fn header_blocks_without_an_end() {
    let world = Flooded::start().await;
    let begin = frame(HEADERS, END_STREAM, 1, &get("/never"));
    for piece in [block(&[("x", "1")]), Vec::new()] {
        world
            .floods(&["h2_continuations", "h2_flood"], &begin, |_| {
                frame(CONTINUATION, 0, 1, &piece)
            })
            .await;
    }
}

#[tokio::test]
async fn settings_without_end() {
    let world = Flooded::start().await;
    let settings = [0, 3, 0, 0, 0, 100];
    world
        .floods(&["h2_settings"], &[], |_| frame(SETTINGS, 0, 0, &settings))
        .await;
}

#[tokio::test]
async fn pings_without_end() {
    let world = Flooded::start().await;
    world
        .floods(&["h2_pings"], &[], |_| frame(PING, 0, 0, &[0; 8]))
        .await;
}

#[tokio::test]
async fn data_without_data() {
    let world = Flooded::start().await;
    let begin = frame(HEADERS, END_HEADERS, 1, &asks("POST", "/", &[]));
    world
        .floods(&["h2_empty_data"], &begin, |_| frame(DATA, 0, 1, &[]))
        .await;
}

#[tokio::test]
async fn windows_that_open_by_a_byte() {
    let world = Flooded::start().await;
    world
        .floods(&["h2_window_updates"], &[], |_| {
            frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())
        })
        .await;
}

#[tokio::test]
async fn priorities_and_frames_that_are_none() {
    let world = Flooded::start().await;
    let priority = [0, 0, 0, 0, 16];
    world
        .floods(&["h2_priorities"], &[], |_| frame(2, 0, 1, &priority))
        .await;
    world
        .floods(&["h2_unknown_frames"], &[], |_| frame(0xbe, 0, 0, &[0; 4]))
        .await;
}

#[tokio::test]
async fn a_small_block_that_means_a_large_head() {
    let world = Flooded::start().await;
    // A field of 4000 bytes goes into the table, and is named by one byte ten thousand times.
    let mut bomb = get("/never");
    bomb.extend([0x40, 1, b'x', 127, 0xa1, 0x1e]);
    bomb.extend([b'v'; 4000]);
    bomb.extend([0xbe; 10_000]);
    world
        .floods(&["h2_flood"], &[], |number| {
            frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &bomb)
        })
        .await;
}

#[tokio::test]
async fn many_streams_whose_windows_stay_closed() {
    let backend = Backend::start(|request, mut peer| async move {
        if request.target() != "/large" {
            return reply(peer, "200 OK", "", "ok").await;
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 8 << 20);
        peer.send(head).await;
        for _ in 0..128 {
            if !peer.try_send(&[b'x'; 64 * 1024][..]).await {
                return None;
            }
        }
        Some(peer)
    })
    .await;
    let world = Flooded::before(backend, "");
    let other = Client::connect(world.address).await;
    assert_eq!(other.get("/").await.status(), 200);
    let before = world.memory();
    // SETTINGS_INITIAL_WINDOW_SIZE = 0.
    let mut raw = Raw::with(world.address, &[0, 4, 0, 0, 0, 0]).await;
    for number in 0..100 {
        let head = get("/large");
        let opened = frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &head);
        assert!(raw.send(&opened).await);
    }
    for _ in 0..100 {
        assert!(raw.next_of(HEADERS).await.is_some());
    }
    // Every answer has begun; the rest waits in the kernel, at the backend's expense. What is here
    // is a hundred connections to the backend, with what one read of each brings.
    let grown = world.memory().saturating_sub(before);
    assert!(grown < 2 * GROWTH, "{grown} bytes more");
    assert_eq!(other.get("/").await.status(), 200);
    drop(raw);
    world.backend.has_open(1).await;
}

#[tokio::test]
async fn a_head_that_drips_is_cut_in_time() {
    let backend = Backend::ok().await;
    let world = Flooded::before(backend, "[server.limits]\nheader_timeout = \"1s\"");
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/never"));
    let mut raw = Raw::connect(world.address).await;
    let begun = Instant::now();
    for byte in &head {
        if !raw.send(&[*byte]).await || begun.elapsed() > Duration::from_secs(4) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let code = raw.end().await;
    assert!(matches!(code, None | Some(CALM)), "{code:?}");
    assert!(world.refused().await.contains("h2_slow_head"));
    assert_eq!(world.backend.seen().len(), 0);
}
