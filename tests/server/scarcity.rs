//! When the system gives no more: descriptors, memory. The real binary, under limits of its own.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossfade::policy::load_shedding::Level;
use tokio::net::TcpStream;

use crate::harness::{
    Backend, EVERYTHING, Peer, Process, Proxy, admin::metric, handshake, reply, within,
};

/// What its histories count.
async fn queued(proxy: &Process) -> u64 {
    metric(&proxy.admin, "crossfade_queue_bytes ").await as u64
}

/// The real binary with one worker, after these words of a shell.
fn confined(shell: &str, server: &str, backend: &Backend, routes: &str) -> Process {
    Process::before(backend, shell, &format!("workers = 1\n{server}"), routes)
}

#[tokio::test]
async fn descriptor_shortage_refuses_new_and_serves_open_clients() {
    let backend = Backend::ok().await;
    let limits = "ulimit -n 80";
    let proxy = confined(limits, "", &backend, EVERYTHING);
    let mut old = Peer::connect(proxy.address()).await;
    assert_eq!(old.ask("GET /", "", "").await.status(), 200);

    let mut crowd = Vec::new();
    for _ in 0..120 {
        crowd.push(TcpStream::connect(proxy.address()).await.unwrap());
    }
    let refused = within("a refusal", async {
        loop {
            let mut newcomer = Peer::connect(proxy.address()).await;
            newcomer.try_send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
            if let Some(head) = newcomer.try_head().await {
                break head;
            }
        }
    })
    .await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.field("retry-after"), Some("5"));

    // Nobody spins on what cannot be accepted, and a connection that is here has its answers.
    let (cpu, since) = (proxy.cpu(), Instant::now());
    while since.elapsed() < Duration::from_secs(1) {
        assert_eq!(old.ask("GET /", "", "").await.status(), 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let busy = (proxy.cpu() - cpu) / since.elapsed().as_secs_f64();
    assert!(busy < 0.5, "{busy} of a core");

    drop(crowd);
    within("a place", async {
        loop {
            let mut newcomer = Peer::connect(proxy.address()).await;
            newcomer.try_send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
            if newcomer
                .try_head()
                .await
                .is_some_and(|head| head.status() == 200)
            {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn memory_shortage_refuses_sessions_first_requests_last() {
    let backend = Backend::start(|_, peer| reply(peer, "200 OK", "", "[]")).await;
    let routes = "[[route]]\npath = \"/list\"\nupstream = \"app\"\nsource = {kind = \"poll\"}\n";
    let proxy = Proxy::before(&backend, "", &(routes.to_owned() + EVERYTHING)).await;
    let pressure = &proxy.handle.shared().pressure;
    for (level, session, tunnel, request) in [
        (Level::Calm, 101, 200, 200),
        (Level::Tight, 503, 503, 200),
        (Level::Scarce, 503, 503, 200),
        (Level::Full, 503, 503, 503),
        (Level::Calm, 101, 200, 200),
    ] {
        pressure.set(level);
        for (path, expected) in [("/list", session), ("/own", tunnel)] {
            let mut client = proxy.client().await;
            client.send(handshake(path, "")).await;
            let answer = client.head().await;
            assert_eq!(answer.status(), expected, "{path} at {level:?}");
            assert_eq!(answer.field("retry-after").is_some(), expected == 503);
        }
        let mut client = proxy.client().await;
        let answer = client.ask("GET /", "", "").await;
        assert_eq!(answer.status(), request, "{level:?}");
    }
    assert!(
        proxy
            .metrics()
            .contains(r#"refused_total{reason="memory"} 7"#)
    );
}

/// A control group of our own with a memory limit; `None` where the system lets us make none.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn with_limit(bytes: u64) -> Option<MemoryGroup> {
        let name = format!(
            "crossfade-test-{}-{:x}",
            std::process::id(),
            fastrand::u32(..)
        );
        for (root, limit) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ] {
            let folder = Path::new(root).join(&name);
            if !Path::new(root).join("cgroup.procs").exists() || fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = MemoryGroup(folder);
            if fs::write(group.0.join(limit), bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }
}

impl MemoryGroup {
    /// Takes it away once the last process in it is gone.
    async fn remove(self) {
        within("an empty group", async {
            while fs::remove_dir(&self.0).is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn memory_near_its_limit_drops_windows_and_kills_no_client() {
    const LIMIT: u64 = 192 << 20;
    let Some(group) = MemoryGroup::with_limit(LIMIT) else {
        println!("not run: this system lets us make no control group with a memory limit");
        return;
    };
    // Twice the limit in events of 64 KiB, all of which the window would like to keep.
    let all_sent = Arc::new(AtomicBool::new(false));
    let done = all_sent.clone();
    let backend = Backend::by_hand(move |mut peer, seen| {
        let done = done.clone();
        async move {
            let Some(request) = peer.request().await else {
                return;
            };
            seen.lock().unwrap().push(request);
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                .await;
            let event = format!("data: {}\n\n", "x".repeat(64 << 10));
            for _ in 0..6000 {
                if !peer.try_send(&event).await {
                    return;
                }
            }
            done.store(true, Ordering::SeqCst);
            peer.rest().await;
        }
    })
    .await;
    let routes = "[[route]]\npath = \"/feed\"\nupstream = \"app\"\nslow = \"gap\"\n\
                  source = {kind = \"sse\", join = \"live\"}\n\
                  replay = {events = 100000, age = \"10m\", bytes = \"2GiB\"}\n";
    let enter = format!("echo $$ > {}/cgroup.procs", group.0.display());
    let server = "[server.limits]\nmemory = \"2GiB\"";
    let mut proxy = confined(&enter, server, &backend, routes);
    let mut reader = Peer::connect(proxy.address()).await;
    reader.send(handshake("/feed", "")).await;
    assert_eq!(reader.head().await.status(), 101);
    let (stream, _) = reader.into_parts();
    let draining = tokio::spawn(async move {
        let mut stream = stream;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    });

    within("all events", async {
        while !all_sent.load(Ordering::SeqCst) {
            assert_eq!(proxy.has_ended(), None, "it was killed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    draining.abort();

    // Somebody else in the same group takes more and more, until nearly nothing is left.
    let hog = format!(
        "{enter}; (for i in $(seq 75); do head -c 2M /dev/zero; sleep 0.02; done) | tail -c 150M | sleep 60"
    );
    let hog = Killed(
        Command::new("sh")
            .args(["-c", &hog])
            .process_group(0)
            .spawn()
            .unwrap(),
    );
    assert_eq!(first_other_than(101, &proxy).await, 503);
    drop(hog);
    assert_eq!(first_other_than(503, &proxy).await, 101);
    assert_eq!(proxy.has_ended(), None, "it was killed");
    drop(proxy);
    group.remove().await;
}

#[tokio::test]
async fn small_events_count_what_they_take() {
    const EVENTS: usize = 100_000;
    let backend = Backend::by_hand(|mut peer, _| async move {
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            .await;
        for _ in 0..EVENTS / 100 {
            peer.send("data: twenty bytes of text\n\n".repeat(100))
                .await;
        }
        peer.send("data: done\n\n").await;
        peer.rest().await;
    })
    .await;
    let routes = "[[route]]\npath = \"/feed\"\nupstream = \"app\"\nsource = \"sse\"\n\
                  replay = {events = 1000000, age = \"10m\", bytes = \"1GiB\"}\n";
    let proxy = confined(":", "", &backend, routes);
    let (taken, counted) = (proxy.memory("VmRSS"), queued(&proxy).await);
    let mut reader = Peer::connect(proxy.address()).await;
    reader.send(handshake("/feed", "")).await;
    assert_eq!(reader.head().await.status(), 101);
    // What a session has encoded is not counted.
    drop(reader);
    let mut before = 0;
    let counted = loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = queued(&proxy).await - counted;
        if now == before && now > EVENTS as u64 * 100 {
            break now;
        }
        before = now;
    };
    let taken = proxy.memory("VmRSS") - taken;
    let share = counted as f64 / taken as f64;
    assert!(
        (0.8..1.2).contains(&share),
        "{counted} counted, {taken} taken"
    );
}

#[tokio::test]
async fn a_large_document_is_compared_in_little_memory() {
    const ITEMS: usize = 6_000;
    let polls = Arc::new(AtomicUsize::new(0));
    let count = polls.clone();
    let document = |change: usize| {
        let pad = "x".repeat(700);
        let items =
            (0..ITEMS).map(|id| format!("{{\"id\":{id},\"v\":{change},\"pad\":\"{pad}\"}}"));
        format!("[{}]", items.collect::<Vec<_>>().join(","))
    };
    let backend = Backend::start(move |request, peer| {
        let change = count.fetch_add(1, Ordering::SeqCst);
        drop(request);
        let body = document(change);
        async move { reply(peer, "200 OK", "Content-Type: application/json\r\n", &body).await }
    })
    .await;
    let routes = "[[route]]\npath = \"/list\"\nupstream = \"app\"\nshare = \"public\"\n\
                  source = {kind = \"poll\", every = \"200ms\", items = \"\", key = \"/id\"}\n";
    let proxy = confined(":", "", &backend, routes);
    let taken = proxy.memory("VmHWM");
    let mut reader = Peer::connect(proxy.address()).await;
    reader.send(handshake("/list", "")).await;
    assert_eq!(reader.head().await.status(), 101);
    let (mut stream, _) = reader.into_parts();
    let reading =
        tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
    within("ten polls", async {
        while polls.load(Ordering::SeqCst) < 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    reading.abort();
    let size = document(1).len() as u64;
    let times = (proxy.memory("VmHWM") - taken) as f64 / size as f64;
    println!("{times:.2} times the document of {size} bytes");
    assert!(times < 7.0, "{times:.1} times the document of {size} bytes");
}

/// Opens sessions until the answer is another.
async fn first_other_than(status: u16, proxy: &Process) -> u16 {
    within("another answer", async {
        loop {
            let mut newcomer = Peer::connect(proxy.address()).await;
            newcomer.send(handshake("/feed", "")).await;
            let answer = newcomer.head().await.status();
            if answer != status {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// A process group that ends with this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill")
            .args(["-s", "KILL", "--", &group])
            .status();
        let _ = self.0.wait();
    }
}
