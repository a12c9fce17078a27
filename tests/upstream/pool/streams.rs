//! Backends of HTTP/2 that take few requests at once over a connection.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::RecvStream;
use h2::server::SendResponse;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness::{
    EVERYTHING, Proxy, Socket, eventually,
    http2_frames::{END_HEADERS, END_STREAM, HEADERS, Raw, SETTINGS, frame},
    within,
};

const STREAMS: &str = "[[route]]\npath = \"/events/{n}\"\nupstream = \"app\"\nsource = \"sse\"\n";

async fn before(url: &str, more: &str) -> Proxy {
    let upstream = format!("[upstream.app]\nservers = [{url:?}]\nhttp2 = true\n{more}\n");
    Proxy::start("", &(upstream + STREAMS + EVERYTHING)).await
}

/// What a backend takes at once.
#[derive(Clone, Copy)]
struct Takes {
    /// Told by its settings.
    told: Option<u32>,
    /// Without a word: what is above is refused.
    untold: usize,
    connections: usize,
}

/// A running backend: `/events/…` is a stream that tells one event and stays open, all else is answered after a moment.
struct Narrow {
    url: String,
    open: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Narrow {
    async fn start(takes: Takes) -> Narrow {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (open, refused) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (count, turned_away) = (open.clone(), refused.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                if count.load(Ordering::SeqCst) == takes.connections {
                    continue;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let (count, turned_away) = (count.clone(), turned_away.clone());
                connections.spawn(async move {
                    carry(stream, takes, turned_away).await;
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Narrow {
            url,
            open,
            refused,
            _tasks: tasks,
        }
    }
}

async fn carry(stream: TcpStream, takes: Takes, refused: Arc<AtomicUsize>) {
    let mut builder = h2::server::Builder::new();
    if let Some(told) = takes.told {
        builder.max_concurrent_streams(told);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let busy = Arc::<AtomicUsize>::default();
    let mut requests = JoinSet::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if busy.fetch_add(1, Ordering::SeqCst) >= takes.untold {
            busy.fetch_sub(1, Ordering::SeqCst);
            refused.fetch_add(1, Ordering::SeqCst);
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            continue;
        }
        let busy = busy.clone();
        requests.spawn(async move {
            answer(request, respond).await;
            busy.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    if !request.uri().path().starts_with("/events/") {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let answer = Response::builder().status(204).body(()).unwrap();
        let _ = respond.send_response(answer, true);
        return;
    }
    let head = Response::builder()
        .header("content-type", "text/event-stream")
        .body(())
        .unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    let event = Bytes::from_static(b"data: 1\n\n");
    stream.send_data(event, false).unwrap();
    let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
}

/// So many clients at once; the statuses.
async fn rush(proxy: &Proxy, clients: usize) -> BTreeMap<u16, usize> {
    let asking = (0..clients).map(|n| async move {
        let mut client = proxy.client().await;
        let line = if n % 2 == 0 { "GET /" } else { "DELETE /" };
        client.ask(line, "", "").await.status()
    });
    let mut statuses = BTreeMap::new();
    for status in join_all(asking).await {
        *statuses.entry(status).or_default() += 1;
    }
    statuses
}

async fn watch(proxy: &Proxy, topics: usize) -> Vec<Socket> {
    let public = format!("http://{}", proxy.address);
    let origin = format!("origin: {public}");
    let opening = (0..topics).map(|n| {
        let (public, origin) = (&public, &origin);
        async move {
            let path = format!("/events/{n}");
            let fields = [origin.as_str(), crate::harness::JSON];
            let mut socket = Socket::open(public, &path, &fields).await.expect("101");
            socket.frame("ev").await;
            socket
        }
    });
    join_all(opening).await
}

#[tokio::test]
async fn streams_and_requests_find_room_from_the_start() {
    let backend = Narrow::start(Takes {
        told: Some(10),
        untold: 10,
        connections: usize::MAX,
    })
    .await;
    let proxy = before(&backend.url, "").await;
    let (topics, statuses) = tokio::join!(watch(&proxy, 30), rush(&proxy, 200));
    assert_eq!(topics.len(), 30);
    assert_eq!(statuses, BTreeMap::from([(204, 200)]));
    assert_eq!(rush(&proxy, 50).await, BTreeMap::from([(204, 50)]));
    // Nothing was tried that the backend had said it would not take, and no more was opened than it takes.
    assert_eq!(backend.refused.load(Ordering::SeqCst), 0);
    let open = backend.open.load(Ordering::SeqCst);
    assert!((4..=30).contains(&open), "{open}");
}

#[tokio::test]
async fn requests_above_all_streams_wait_for_room() {
    let backend = Narrow::start(Takes {
        told: Some(5),
        untold: 5,
        connections: 2,
    })
    .await;
    let proxy = before(&backend.url, "").await;
    assert_eq!(rush(&proxy, 100).await, BTreeMap::from([(204, 100)]));
    assert_eq!(backend.open.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn requests_without_room_in_time_get_503() {
    let backend = Narrow::start(Takes {
        told: Some(2),
        untold: 2,
        connections: 1,
    })
    .await;
    let proxy = before(&backend.url, "connect_timeout = \"300ms\"").await;
    let topics = watch(&proxy, 2).await;
    for _ in 0..6 {
        let answer = proxy.client().await.ask("GET /", "", "").await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.json()["code"], "upstream_down");
        assert!(answer.field("retry-after").is_some());
    }
    let told = "crossfade_upstream_errors_total{reason=\"busy\",upstream=\"app\"} 6";
    let metrics = proxy.metrics();
    assert!(metrics.contains(told), "{metrics}");
    drop(topics);
    proxy
        .reload(&format!(
            "[upstream.app]\nservers = [{:?}]\nhttp2 = true\n{EVERYTHING}",
            backend.url
        ))
        .await;
    eventually("room", async || backend.open.load(Ordering::SeqCst) == 0).await;
    assert_eq!(rush(&proxy, 4).await, BTreeMap::from([(204, 4)]));
}

#[tokio::test]
async fn requests_above_an_untold_limit_go_again() {
    let backend = Narrow::start(Takes {
        told: None,
        untold: 3,
        connections: usize::MAX,
    })
    .await;
    let proxy = before(&backend.url, "").await;
    let (topics, statuses) = tokio::join!(watch(&proxy, 10), rush(&proxy, 60));
    assert_eq!(topics.len(), 10);
    assert_eq!(statuses, BTreeMap::from([(204, 60)]));
    assert!(backend.refused.load(Ordering::SeqCst) > 0);
}

fn at_most(streams: u8) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, streams])
}

/// A connection that is answered by hand, with the most requests that were under way on it at once.
struct ByHand {
    raw: Raw,
    open: Vec<u32>,
    most: usize,
}

impl ByHand {
    async fn accept(listener: &TcpListener) -> ByHand {
        let (stream, _) = within("a connection", listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        ByHand {
            raw: Raw::accept(stream).await,
            open: Vec::new(),
            most: 0,
        }
    }

    /// Reads until a request comes.
    async fn request(&mut self) {
        let head = self.raw.next_of(HEADERS).await.expect("a request");
        self.open.push(head.stream);
        self.most = self.most.max(self.open.len());
    }

    /// Answers the oldest with 204.
    async fn answer(&mut self) {
        let stream = self.open.remove(0);
        let answer = frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x89]);
        assert!(self.raw.send(&answer).await);
    }
}

#[tokio::test]
async fn no_request_is_sent_before_the_settings_came() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let proxy = before(&url, "").await;
    let serving = async {
        let mut first = ByHand::accept(&listener).await;
        let silent = Duration::from_millis(200);
        let early = tokio::time::timeout(silent, first.raw.next_of(HEADERS)).await;
        assert!(early.is_err(), "{early:?}");
        // No stream at first is allowed, too.
        assert!(first.raw.send(&at_most(0)).await);
        let early = tokio::time::timeout(silent, first.raw.next_of(HEADERS)).await;
        assert!(early.is_err(), "{early:?}");
        assert!(first.raw.send(&at_most(1)).await);
        let mut others = Vec::new();
        first.request().await;
        for _ in 0..2 {
            let mut other = ByHand::accept(&listener).await;
            assert!(other.raw.send(&at_most(1)).await);
            other.request().await;
            others.push(other);
        }
        first.answer().await;
        for other in &mut others {
            other.answer().await;
        }
    };
    let ((), statuses) = tokio::join!(serving, rush(&proxy, 3));
    assert_eq!(statuses, BTreeMap::from([(204, 3)]));
}

#[tokio::test]
async fn a_limit_that_falls_counts_from_then_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let proxy = before(&url, "").await;
    let lowering = async {
        let mut first = ByHand::accept(&listener).await;
        assert!(first.raw.send(&at_most(50)).await);
        first.request().await;
        assert!(first.raw.send(&at_most(1)).await);
        first.raw.next_of(SETTINGS).await;
        first.answer().await;
        first
    };
    let (mut first, statuses) = tokio::join!(lowering, rush(&proxy, 1));
    assert_eq!(statuses, BTreeMap::from([(204, 1)]));
    let serving = async {
        first.request().await;
        let mut second = ByHand::accept(&listener).await;
        assert!(second.raw.send(&at_most(50)).await);
        for _ in 0..3 {
            second.request().await;
        }
        first.answer().await;
        for _ in 0..3 {
            second.answer().await;
        }
        (first.most, second.most)
    };
    let (most, statuses) = tokio::join!(serving, rush(&proxy, 4));
    assert_eq!(statuses, BTreeMap::from([(204, 4)]));
    assert_eq!(most, (1, 3));
}

#[tokio::test]
async fn a_connection_half_made_is_made_by_the_next_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let proxy = before(&url, "connect_timeout = \"15s\"").await;
    let begun = Instant::now();
    let mut leaver = proxy.client().await;
    leaver.send(crate::harness::request("GET /", "", "")).await;
    let held = Mutex::new(Some(leaver));
    let serving = async {
        let mute = ByHand::accept(&listener).await;
        let leaving = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            held.lock().unwrap().take();
        };
        let ((), mut second) = tokio::join!(leaving, ByHand::accept(&listener));
        assert!(second.raw.send(&at_most(50)).await);
        second.request().await;
        second.answer().await;
        mute
    };
    let (_mute, statuses) = tokio::join!(serving, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        rush(&proxy, 1).await
    });
    assert_eq!(statuses, BTreeMap::from([(204, 1)]));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_server_without_settings_is_out_of_reach() {
    let backend = crate::harness::Backend::ok().await;
    let proxy = before(&format!("http://{}", backend.address), "").await;
    let answer = proxy.client().await.ask("GET /", "", "").await;
    assert_eq!(answer.status(), 502);
    let told = "crossfade_upstream_errors_total{reason=\"connect\",upstream=\"app\"} 1";
    let metrics = proxy.metrics();
    assert!(metrics.contains(told), "{metrics}");
}
