//! Answers that pass through end with the credential that let them in, as sessions and tunnels do: event streams that say nothing
//! for hours, and downloads that take long.

use std::time::Duration;

use h2::{Reason, RecvStream};
use hyper::Method;
use serde_json::{Value, json};

use super::authority::ALICE;
use super::{GATE, authority, guarded, problem, routes};
use crate::harness::{
    Peer, Proxy,
    auth::{bearer, jwt, now, token, token_of},
    eventually,
    http2::{Client, next},
    request, within,
};

const STREAM: &str = "/app/stream";
const DOWNLOAD: &str = "/app/export";

/// An answer that is not over, over one of the versions of HTTP.
enum Passing {
    Http1(Peer),
    Http2(Client, RecvStream),
}

impl Passing {
    async fn over_http1(proxy: &Proxy, path: &str, by: &str) -> Passing {
        let mut client = proxy.client().await;
        let fields = format!("accept: text/event-stream\r\n{by}\r\n");
        let line = format!("GET {path}");
        client.send(request(&line, &fields, "")).await;
        assert_eq!(client.head().await.status(), 200, "{path}");
        Passing::Http1(client)
    }

    async fn over_http2(proxy: &Proxy, path: &str, by: &str) -> Passing {
        let client = Client::connect(proxy.address).await;
        let (name, value) = by.split_once(": ").unwrap();
        let request = client.request(Method::GET, path);
        let request = request.header("accept", "text/event-stream");
        let (response, _) = client.begin(request.header(name, value), true).await;
        let answer = within("an answer", response).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        Passing::Http2(client, answer.into_body())
    }

    /// More of it comes, once something has happened.
    async fn goes_on(&mut self, proxy: &Proxy) {
        proxy.app().publish();
        match self {
            Passing::Http1(client) => assert!(client.byte().await.is_some()),
            Passing::Http2(_, body) => assert!(next(body).await.unwrap().is_some()),
        }
    }

    /// It breaks off, and its client sees that it was not whole.
    async fn breaks_off(self) {
        match self {
            Passing::Http1(mut client) => {
                let rest = client.rest().await;
                assert!(
                    !rest.ends_with(b"0\r\n\r\n"),
                    "it ended as if it were whole"
                );
            }
            Passing::Http2(_client, mut body) => loop {
                match next(&mut body).await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("it ended as if it were whole"),
                    Err(error) => {
                        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
                        break;
                    }
                }
            },
        }
    }
}

/// A stream and a download over each version.
async fn passing(proxy: &Proxy, by: &str) -> Vec<Passing> {
    let mut all = Vec::new();
    for path in [STREAM, DOWNLOAD] {
        all.push(Passing::over_http1(proxy, path, by).await);
        all.push(Passing::over_http2(proxy, path, by).await);
    }
    for one in &mut all {
        one.goes_on(proxy).await;
    }
    all
}

/// All are cut, a second after it had to be so at the latest.
async fn are_cut(all: Vec<Passing>) {
    let cut = async {
        for one in all {
            one.breaks_off().await;
        }
    };
    let second = Duration::from_secs(1);
    tokio::time::timeout(second, cut).await.expect("in time");
}

async fn revoke(proxy: &Proxy, what: Value) {
    let answer = proxy.tell("/v1/revoke", &what).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

fn cut_for(proxy: &Proxy, reason: &str) -> usize {
    let name = format!("crossfade_auth_ended_total{{kind=\"answer\",reason=\"{reason}\"}} ");
    let metrics = proxy.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn passed_answers_end_with_their_token() {
    let proxy = guarded(jwt()).start().await;
    let end = now() + 2;
    let hers = passing(&proxy, &bearer(&token(json!({"exp": end})))).await;
    let mut his = passing(&proxy, &bearer(&token_of("bob"))).await;
    assert!(now() < end);
    eventually("the end", async || now() >= end).await;
    are_cut(hers).await;
    for one in &mut his {
        one.goes_on(&proxy).await;
    }
    assert_eq!(cut_for(&proxy, "expired"), 4);
    eventually("the backend to be let go", async || {
        proxy.metrics().contains(
            "crossfade_errors_total{kind=\"unauthorized\",namespace=\"\",side=\"edge\"} 4",
        )
    })
    .await;
}

#[tokio::test]
async fn passed_answer_ends_with_the_token_of_another_reading() {
    let proxy = guarded(jwt()).toml(GATE).start().await;
    let by = bearer(&token_of("alice"));
    let mut hers = Passing::over_http1(&proxy, "/gate/a%2Fkeys", &by).await;
    hers.goes_on(&proxy).await;
    let mut open = Passing::over_http1(&proxy, "/gate/a%2Fb", &by).await;
    open.goes_on(&proxy).await;
    revoke(&proxy, json!({"user": "alice"})).await;
    are_cut(vec![hers]).await;
    assert_eq!(cut_for(&proxy, "revoked"), 1);
    open.goes_on(&proxy).await;
}

#[tokio::test]
async fn a_revocation_cuts_the_answers_of_that_user_only() {
    let proxy = guarded(jwt()).start().await;
    let hers = passing(&proxy, &bearer(&token_of("alice"))).await;
    let mut his = passing(&proxy, &bearer(&token_of("bob"))).await;
    revoke(&proxy, json!({"user": "alice"})).await;
    are_cut(hers).await;
    for one in &mut his {
        one.goes_on(&proxy).await;
    }
    assert_eq!(cut_for(&proxy, "revoked"), 4);
    // The backend's halves went with them.
    proxy.backend().has_open(4).await;
}

#[tokio::test]
async fn a_recheck_that_is_denied_cuts_passed_answers() {
    let proxy = authority::started("recheck = \"1s\"\ncache = \"1s\"", "").await;
    let hers = passing(&proxy, ALICE).await;
    let mut his = passing(&proxy, "cookie: session=b1").await;
    let before = authority::questions(&proxy);
    eventually("a recheck", async || {
        authority::questions(&proxy) > before + 1
    })
    .await;
    proxy.app().knows("a1", 401, "");
    eventually("a denial", async || cut_for(&proxy, "expired") > 0).await;
    are_cut(hers).await;
    for one in &mut his {
        one.goes_on(&proxy).await;
    }
}

#[tokio::test]
async fn an_outage_of_the_authority_cuts_answers_only_in_time() {
    let policy = "recheck = \"1s\"\ncache = \"0s\"\nstale_if_error = \"2s\"";
    let proxy = authority::started(policy, "").await;
    let mut hers = passing(&proxy, ALICE).await;
    proxy.app().fails(Some(500));
    let before = authority::questions(&proxy);
    eventually("a recheck in vain", async || {
        authority::questions(&proxy) > before
    })
    .await;
    for one in &mut hers {
        one.goes_on(&proxy).await;
    }
    eventually("the last word to be too old", async || {
        cut_for(&proxy, "unavailable") > 0
    })
    .await;
    are_cut(hers).await;
}

#[tokio::test]
async fn a_reload_without_the_policy_cuts_passed_answers() {
    let proxy = guarded(jwt()).start().await;
    let hers = passing(&proxy, &bearer(&token_of("alice"))).await;
    proxy.reload_routes(&routes().text()).await;
    are_cut(hers).await;
    assert_eq!(cut_for(&proxy, "missing"), 4);
}

#[tokio::test]
async fn a_reload_cuts_answers_only_where_the_key_changed() {
    let proxy = guarded(jwt()).start().await;
    let mut hers = passing(&proxy, &bearer(&token_of("alice"))).await;
    let other =
        jwt().line("identity = {user = \"X-User\", tenant = \"X-Tenant\", roles = \"X-Groups\"}");
    proxy.reload_routes(&guarded(other).text()).await;
    for one in &mut hers {
        one.goes_on(&proxy).await;
    }
    let other = jwt().line("secret = \"another secret that is longer than thirty-two bytes\"");
    proxy.reload_routes(&guarded(other).text()).await;
    are_cut(hers).await;
    assert_eq!(cut_for(&proxy, "expired"), 4);
}

/// A stream may have no head before its first event, and an upload takes its time: both are told by a status.
#[tokio::test]
async fn a_revocation_refuses_requests_without_an_answer_yet() {
    let proxy = guarded(jwt()).start().await;
    let by = bearer(&token_of("alice"));
    let fields = format!("accept: text/event-stream\r\n{by}\r\n");
    let mut late = proxy.client().await;
    late.send(request("GET /app/late", &fields, "")).await;
    let mut upload = proxy.client().await;
    let head = format!(
        "POST /app/late HTTP/1.1\r\nhost: a.example\r\ncontent-length: 9\r\n{by}\r\n\r\nhalf"
    );
    upload.send(head).await;
    let client = Client::connect(proxy.address).await;
    let (name, value) = by.split_once(": ").unwrap();
    let asked = client.request(Method::GET, "/app/late").header(name, value);
    let (response, _) = client.begin(asked, true).await;
    proxy.backend().has_open(3).await;
    revoke(&proxy, json!({"user": "alice"})).await;
    let told = async {
        for client in [&mut late, &mut upload] {
            let (status, code, _) = problem(&client.response().await);
            assert_eq!((status, &*code), (401, "unauthorized"));
        }
        assert_eq!(response.await.unwrap().status(), 401);
    };
    let second = Duration::from_secs(1);
    tokio::time::timeout(second, told).await.expect("in time");
    proxy.backend().has_open(0).await;
}

#[tokio::test]
async fn an_answer_of_an_open_route_outlives_a_revocation() {
    let proxy = guarded(jwt()).start().await;
    let by = bearer(&token_of("alice"));
    let mut open = Passing::over_http1(&proxy, "/open/stream", &by).await;
    open.goes_on(&proxy).await;
    let hers = Passing::over_http1(&proxy, STREAM, &by).await;
    revoke(&proxy, json!({"user": "alice"})).await;
    are_cut(vec![hers]).await;
    open.goes_on(&proxy).await;
}
