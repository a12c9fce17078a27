//! A request that leads back to crossfade, through whatever stands between, ends; one that a backend sends here once does not.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    Backend, EVERYTHING, Message, Peer, Proxy, asked, eventually, handshake, reply, request,
};

const MARKED: &str = "cdn-loop";

/// Where another balancer sends its requests, once that is known.
type To = Arc<OnceLock<SocketAddr>>;

/// Another balancer, which sends everything on with the fields that it got.
async fn balancer() -> (Backend, To) {
    let to = To::default();
    let target = to.clone();
    let answer = move |request: Message, peer: Peer| {
        let to = target.get().copied();
        async move {
            let answer = forward(&request, to?).await;
            let status = answer.line.split_once(' ').unwrap().1;
            reply(peer, status, "", &answer.text()).await
        }
    };
    (Backend::start(answer).await, to)
}

/// Sends a request on, as it came.
async fn forward(request: &Message, to: SocketAddr) -> Message {
    let fields = request.fields.iter();
    let fields: String = fields
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let mut next = Peer::connect(to).await;
    next.send(format!(
        "{}\r\n{fields}\r\n{}",
        request.line,
        request.text()
    ))
    .await;
    next.response().await
}

/// crossfade whose backend is such a balancer, which leads back.
async fn circle(rest: &str) -> (Proxy, Backend) {
    let (balancer, to) = balancer().await;
    let proxy = Proxy::before(&balancer, "", rest).await;
    to.set(proxy.address).unwrap();
    (proxy, balancer)
}

/// How often each request at the balancer had come from crossfade before.
fn rounds(balancer: &Backend) -> Vec<usize> {
    let count = |request: Message| {
        request
            .field(MARKED)
            .map_or(0, |way| way.split(',').count())
    };
    balancer.seen().into_iter().map(count).collect()
}

fn is_told(answer: &Message) {
    assert_eq!(
        (answer.status(), &answer.json()["code"]),
        (508, &json!("loop_detected"))
    );
}

#[tokio::test]
async fn a_request_through_another_proxy_ends_with_508() {
    let (proxy, balancer) = circle(EVERYTHING).await;
    for (line, body) in [("GET /a", ""), ("POST /a?b=c", "text")] {
        let before = balancer.seen().len();
        is_told(&proxy.client().await.ask(line, "", body).await);
        assert_eq!(rounds(&balancer)[before..], [1, 2], "{line}");
    }
    let (answer, _) = asked(&proxy, handshake("/socket", "")).await;
    is_told(&answer);
    assert_eq!(rounds(&balancer)[4..], [1, 2]);
    let refused = "crossfade_refused_total{reason=\"loop_detected\"} 3";
    assert!(proxy.metrics().contains(refused), "{}", proxy.metrics());
}

#[tokio::test]
async fn a_loop_over_http2_ends_with_508() {
    let (listener, to) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        To::default(),
    );
    let address = listener.local_addr().unwrap();
    let upstream = format!("[upstream.app]\nservers = [\"http://{address}\"]\nhttp2 = true\n");
    let proxy = Proxy::start("", &(upstream + EVERYTHING)).await;
    to.set(proxy.address).unwrap();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let to = to.get().copied().unwrap();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    is_told(&proxy.client().await.ask("GET /a", "", "").await);
    let answered = "kind=\"passthrough\",route=\"/{*path}\",status=\"508\",upstream=\"app\"} 2";
    assert!(proxy.metrics().contains(answered), "{}", proxy.metrics());
}

#[tokio::test]
async fn two_of_them_before_each_other_end_with_508() {
    let (balancer, to) = balancer().await;
    let first = Proxy::before(&balancer, "", EVERYTHING).await;
    let upstream = format!("[upstream.app]\nservers = [\"http://{}\"]\n", first.address);
    let second = Proxy::start("", &(upstream + EVERYTHING)).await;
    to.set(second.address).unwrap();
    is_told(&first.client().await.ask("GET /a", "", "").await);
    // Each has a mark of its own.
    assert_eq!(rounds(&balancer), [1, 3]);
}

#[tokio::test]
async fn a_backend_that_calls_back_with_copied_fields_is_served() {
    let to = To::default();
    let target = to.clone();
    let backend = Backend::start(move |mut request, peer| {
        let to = target.get().copied().unwrap();
        async move {
            if request.target() == "/data" {
                return reply(peer, "200 OK", "", "data").await;
            }
            request.line = "GET /data HTTP/1.1".into();
            let data = forward(&request, to).await;
            reply(peer, "200 OK", "", &format!("page with {}", data.text())).await
        }
    });
    let backend = backend.await;
    let proxy = Proxy::passthrough(&backend).await;
    to.set(proxy.address).unwrap();
    let page = proxy
        .client()
        .await
        .ask("GET /page", "CDN-Loop: cdn; v=1\r\n", "")
        .await;
    assert_eq!((page.status(), page.text()), (200, "page with data".into()));
    let [page, data] = &backend.seen()[..] else {
        panic!("two requests");
    };
    let own = page
        .field(MARKED)
        .unwrap()
        .strip_prefix("cdn; v=1, ")
        .unwrap();
    assert_eq!(
        data.field(MARKED),
        Some(&*format!("cdn; v=1, {own}, {own}"))
    );
}

#[tokio::test]
async fn a_mark_that_a_client_sends_harms_that_client_alone() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let ask = async |fields: &str| proxy.client().await.ask("GET /a", fields, "").await;
    assert_eq!(ask("").await.status(), 200);
    let own = backend.only().field(MARKED).unwrap().to_owned();
    assert!(own.starts_with("crossfade-") && !own.contains(&*proxy.address.port().to_string()));
    // A nomination takes no mark away.
    let nominated = format!("Connection: cdn-loop\r\nCDN-Loop: {own}\r\n");
    assert_eq!(ask(&nominated).await.status(), 200);
    assert_eq!(rounds(&backend), [1, 2]);
    is_told(&ask(&format!("CDN-Loop: {own}, x\r\nCDN-Loop: {own};a=b\r\n")).await);
    let foreign = "CDN-Loop: crossfade-0, crossfade-0, crossfade, crossfade\r\n";
    for fields in ["", foreign] {
        assert_eq!(ask(fields).await.status(), 200);
    }
}

#[tokio::test]
async fn sources_calls_and_checks_that_lead_back_end() {
    let routes = r#"
health = {path = "/health", interval = "1s"}
[[route]]
path = "/feed"
upstream = "app"
source = "sse"
[[route]]
path = "/document"
upstream = "app"
source = {kind = "poll", every = "50ms"}
[[route]]
path = "/call"
upstream = "app"
calls = ["POST"]
"#;
    let (proxy, balancer) = circle(&[routes, EVERYTHING].concat()).await;
    let mut client = proxy.join(&[]).await;
    for (id, path) in [(1, "/feed"), (2, "/document")] {
        client.subscribe(id, path).await;
        assert_eq!(client.frame("state").await["why"], "upstream_down");
        assert_eq!(rounds_at(&balancer, path)[..3], [0, 1, 2], "{path}");
    }
    client
        .send(json!({"t": "req", "id": 3, "method": "POST", "path": "/call"}))
        .await;
    assert_eq!(client.frame("res").await["status"], 508);
    assert_eq!(rounds_at(&balancer, "/call"), [1, 2]);
    eventually("a check", async || {
        rounds_at(&balancer, "/health").len() >= 3
    })
    .await;
    assert_eq!(rounds_at(&balancer, "/health")[..3], [0, 1, 2]);
    assert!(rounds(&balancer).into_iter().all(|rounds| rounds < 3));
}

fn rounds_at(balancer: &Backend, path: &str) -> Vec<usize> {
    let count = |request: &Message| {
        request
            .field(MARKED)
            .map_or(0, |way| way.split(',').count())
    };
    balancer.asked_for(path).iter().map(count).collect()
}

/// To know who asks it has to ask who asks.
#[tokio::test]
async fn an_authority_behind_its_own_question_ends() {
    let auth = r#"
[[route]]
path = "/{*path}"
upstream = "app"
auth = "session"
[auth.session]
kind = "forward"
upstream = "app"
path = "/me"
user = "user"
"#;
    let (proxy, balancer) = circle(auth).await;
    let mut client = proxy.client().await;
    client
        .send(request("GET /a", "Cookie: sid=1\r\nCDN-Loop: cdn\r\n", ""))
        .await;
    // Before the question's own time is over.
    let answer = tokio::time::timeout(Duration::from_millis(1500), client.response());
    assert_eq!(answer.await.expect("an answer").status(), 503);
    let ways: Vec<usize> = rounds(&balancer);
    assert_eq!(ways, [2, 3], "`cdn` and crossfade");
    assert!(
        balancer
            .seen()
            .iter()
            .all(|request| request.target() == "/me")
    );
}
