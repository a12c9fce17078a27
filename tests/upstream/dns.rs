//! Names of servers: looked up again in time, and kept when nobody knows them any more.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crossfade::config::{self, Upstream};
use crossfade::error::{ErrorKind, Obstacle};
use crossfade::http::body::empty;
use crossfade::telemetry::Telemetry;
use crossfade::upstream::{Purpose, Resolver, Upstreams};
use http_body_util::BodyExt;
use hyper::Request;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use crate::harness::{Peer, eventually, reply};

const OK: u8 = 0;
const NO_SUCH_NAME: u8 = 3;

/// A name server that knows A records with a time to live of one second.
struct NameServer {
    address: SocketAddr,
    known: Arc<Mutex<HashMap<String, Ipv4Addr>>>,
    asked: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl NameServer {
    async fn start() -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let known: Arc<Mutex<HashMap<String, Ipv4Addr>>> = Arc::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let (table, count) = (known.clone(), asked.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = answer(&query[..length], &table.lock().unwrap());
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        NameServer {
            address,
            known,
            asked,
            _task: task,
        }
    }

    fn say(&self, name: &str, address: Option<Ipv4Addr>) {
        let mut known = self.known.lock().unwrap();
        match address {
            Some(address) => known.insert(name.to_owned(), address),
            None => known.remove(name),
        };
    }
}

/// RFC 1035, section 4: the question as it was, and an A record where the name has one.
fn answer(query: &[u8], known: &HashMap<String, Ipv4Addr>) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    let is_a = query[at + 1..at + 3] == [0, 1];
    let found = known.get(&labels.join("."));
    let (code, count) = match found {
        Some(_) => (OK, u8::from(is_a)),
        None => (NO_SUCH_NAME, 0),
    };
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(&query[12..at + 5]);
    if let (Some(address), true) = (found, is_a) {
        // The name of the question, A, IN, one second, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}

/// A server on one address of the loopback, which answers with its name.
struct Server {
    open: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

fn serve(listener: TcpListener, name: &'static str) -> Server {
    let open = Arc::new(AtomicUsize::new(0));
    let count = open.clone();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let count = count.clone();
            connections.spawn(async move {
                count.fetch_add(1, Ordering::SeqCst);
                talk(stream, name).await;
                count.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    Server { open, _task: task }
}

async fn talk(stream: TcpStream, name: &str) {
    let mut peer = Peer::new(stream);
    while peer.request().await.is_some() {
        match reply(peer, "200 OK", "", name).await {
            Some(kept) => peer = kept,
            None => return,
        }
    }
}

/// One port on two addresses.
async fn two_listeners() -> (TcpListener, TcpListener, u16) {
    loop {
        let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = one.local_addr().unwrap().port();
        if let Ok(two) = TcpListener::bind(("127.0.0.2", port)).await {
            return (one, two, port);
        }
    }
}

fn upstream(host: &str, port: u16) -> Arc<Upstream> {
    let text = format!(
        "[upstream.app]\nservers = [\"http://{host}:{port}\"]\n\
         [[route]]\npath = \"/\"\nupstream = \"app\"\n"
    );
    let no_file = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let loaded = config::parse(&text, "proxy.toml", &|_| None, &no_file);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems:?}"));
    loaded.config.upstreams["app"].clone()
}

async fn ask(upstreams: &Upstreams, upstream: &Upstream) -> String {
    let request = Request::get("/").header("host", "h").body(empty()).unwrap();
    let answer = upstreams.send(upstream, "r", Purpose::Passthrough, request);
    let body = answer.await.unwrap().into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn new_addresses_replace_expired_ones_and_outlive_the_name() {
    let (one, two, port) = two_listeners().await;
    let (one, two) = (serve(one, "one"), serve(two, "two"));
    let names = NameServer::start().await;
    names.say("app.test", Some(Ipv4Addr::new(127, 0, 0, 1)));
    let telemetry = Arc::<Telemetry>::default();
    let resolver = Resolver::asking(names.address).unwrap();
    let upstreams = Upstreams::asking(resolver, telemetry.clone());
    let app = upstream("app.test", port);
    for _ in 0..3 {
        assert_eq!(ask(&upstreams, &app).await, "one");
    }
    assert_eq!(names.asked.load(Ordering::SeqCst), 2, "A and AAAA, once");

    names.say("app.test", Some(Ipv4Addr::new(127, 0, 0, 2)));
    let moved = std::time::Instant::now();
    eventually("the idle connection to be let go", async || {
        one.open.load(Ordering::SeqCst) == 0
    })
    .await;
    // A second to live, at least five between two questions, and a slow machine.
    assert!(moved.elapsed().as_secs() < 10);
    assert_eq!(ask(&upstreams, &app).await, "two");

    names.say("app.test", None);
    let lost = r#"crossfade_upstream_errors_total{reason="dns",upstream="app"} 1"#;
    eventually("the name to be missed", async || {
        telemetry.render().contains(lost)
    })
    .await;
    assert_eq!(ask(&upstreams, &app).await, "two");
    assert_eq!(two.open.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn unknown_name_is_an_error_of_its_own_until_it_resolves() {
    let (one, _two, port) = two_listeners().await;
    let _one = serve(one, "one");
    let names = NameServer::start().await;
    let resolver = Resolver::asking(names.address).unwrap();
    let upstreams = Upstreams::asking(resolver, Arc::default());
    let app = upstream("late.test", port);
    let request = Request::get("/").header("host", "h").body(empty()).unwrap();
    let answer = upstreams.send(&app, "r", Purpose::Passthrough, request);
    let error = answer.await.unwrap_err();
    assert_eq!(
        (error.kind, error.obstacle),
        (ErrorKind::Connect, Some(Obstacle::NoAddress))
    );
    names.say("late.test", Some(Ipv4Addr::LOCALHOST));
    assert_eq!(ask(&upstreams, &app).await, "one");
}

#[tokio::test]
async fn literals_and_localhost_need_no_lookup() {
    let (one, _two, port) = two_listeners().await;
    let _one = serve(one, "one");
    let names = NameServer::start().await;
    let resolver = Resolver::asking(names.address).unwrap();
    let asking = Upstreams::asking(resolver, Arc::default());
    for upstreams in [asking, Upstreams::new(Arc::default())] {
        for host in ["127.0.0.1", "localhost"] {
            assert_eq!(
                ask(&upstreams, &upstream(host, port)).await,
                "one",
                "{host}"
            );
        }
    }
    assert_eq!(names.asked.load(Ordering::SeqCst), 0);
}
