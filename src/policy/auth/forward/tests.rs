mod backend;

use futures_util::future::join_all;
use hyper::header::HeaderValue;
use tokio::net::TcpListener;

use super::*;
use backend::{world, world_with};

const ALICE: &str = r#"{"user":"alice"}"#;
const SECOND: Duration = Duration::from_secs(1);

/// An authority at this address.
pub(crate) fn forward(address: &str) -> config::Forward {
    config::Forward {
        upstream: Arc::new(config::Upstream {
            name: "app".into(),
            servers: vec![config::Authority {
                address: address.into(),
                is_https: false,
            }],
            host: None,
            connect_timeout: SECOND,
            response_timeout: SECOND,
            idle_timeout: SECOND,
            keepalive: 8,
            http2: false,
            tls: config::Trust::default(),
            balance: Default::default(),
            health: None,
            budget: Default::default(),
            connection_auth: Default::default(),
        }),
        path: "/me".into(),
        cookies: None,
        headers: vec![hyper::header::AUTHORIZATION],
        user: "user".into(),
        tenant: None,
        roles: None,
        cache: SECOND * 30,
        recheck: SECOND * 60,
        stale_if_error: SECOND * 60,
    }
}

pub(crate) fn context() -> Context {
    Context {
        host: HeaderValue::from_static("app.example"),
        proto: "https",
        remote: "192.0.2.7".into(),
        way: Default::default(),
    }
}

fn sid(value: &str) -> Inputs {
    Inputs {
        cookie: Some(HeaderValue::from_str(&format!("sid={value}")).unwrap()),
        fields: Vec::new(),
    }
}

async fn ask(authority: &Arc<Authority>, session: &str) -> AuthorityVerdict {
    authority.ask(sid(session), context()).answer().await
}

async fn recheck(authority: &Arc<Authority>, session: &str, known: &Verified) -> AuthorityVerdict {
    let asking = authority.recheck(sid(session), context(), known.clone());
    asking.await
}

fn user(verdict: &AuthorityVerdict) -> &str {
    verdict.as_ref().map_or("unknown", |v| &v.identity.user)
}

fn fetches(telemetry: &Telemetry, result: &str) -> u64 {
    telemetry
        .edge
        .auth_fetches
        .with_label_values(&["session", result])
        .get()
}

/// Lets time pass while nothing is under way: sockets know nothing of a clock that is stopped.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_thousand_checks_of_one_session_are_one_question() {
    let (authority, backend, telemetry) = world().await;
    backend.hold();
    let asking: Vec<_> = (0..1000).map(|_| ask(&authority, "1")).collect();
    let all = join_all(asking);
    let (verdicts, ()) = tokio::join!(all, async {
        backend.arrived.notified().await;
        backend.release();
    });
    assert!(verdicts.iter().all(|verdict| user(verdict) == "alice"));
    assert_eq!((backend.asked(), fetches(&telemetry, "ok")), (1, 1));
    assert!(matches!(
        authority.ask(sid("1"), context()),
        Asked::Now(Ok(_))
    ));
    assert_eq!(user(&ask(&authority, "2").await), "alice");
    assert_eq!(backend.asked(), 2, "another session is another question");
    let requests = |kind| {
        let labels = ["session", "app", kind, "200"];
        telemetry
            .upstreams
            .requests
            .with_label_values(&labels)
            .get()
    };
    assert_eq!(requests("auth"), 2);
}

#[tokio::test]
async fn first_asker_leaves_and_the_others_get_their_answer() {
    let (authority, backend, _) = world().await;
    backend.hold();
    let first = authority.ask(sid("1"), context());
    let second = authority.ask(sid("1"), context());
    drop(first);
    backend.arrived.notified().await;
    backend.release();
    assert_eq!(user(&second.answer().await), "alice");
    assert_eq!(backend.asked(), 1);
}

#[tokio::test]
async fn an_answer_holds_for_the_cache_and_a_no_for_five_seconds() {
    let (authority, backend, telemetry) = world().await;
    assert_eq!(user(&ask(&authority, "1").await), "alice");
    pass(SECOND * 29).await;
    assert_eq!(user(&ask(&authority, "1").await), "alice");
    assert_eq!(backend.asked(), 1);
    backend.says_json("401 Unauthorized", "{}");
    pass(SECOND * 2).await;
    let denied = ask(&authority, "1").await.unwrap_err();
    assert_eq!(denied, AuthError::Invalid(UNKNOWN.into()));
    assert_eq!((backend.asked(), fetches(&telemetry, "refused")), (2, 1));
    backend.says_json("200 OK", ALICE);
    pass(SECOND * 4).await;
    assert_eq!(user(&ask(&authority, "1").await), "unknown");
    pass(SECOND * 2).await;
    assert_eq!(user(&ask(&authority, "1").await), "alice");
    assert_eq!((backend.asked(), fetches(&telemetry, "failed")), (3, 0));
}

#[tokio::test]
async fn what_is_no_answer_lets_no_user_in() {
    let (authority, backend, telemetry) = world().await;
    let too_long = format!("{{\"user\":\"alice\",\"x\":\"{}\"}}", "x".repeat(64 << 10));
    let json = "application/json";
    for (n, (status, content_type, body, can_tell, is_failure)) in [
        ("200 OK", "text/html", ALICE, true, true),
        ("200 OK", json, "<html>", true, true),
        ("200 OK", json, "{\"name\":\"alice\"}", true, true),
        ("200 OK", json, "[]", true, true),
        ("204 No Content", json, "", true, true),
        ("302 Found", json, ALICE, true, false),
        ("403 Forbidden", json, ALICE, true, false),
        ("404 Not Found", json, ALICE, false, true),
        ("500 Internal Server Error", json, ALICE, false, true),
        ("503 Service Unavailable", json, ALICE, false, true),
        ("200 OK", json, &too_long, false, true),
    ]
    .into_iter()
    .enumerate()
    {
        backend.says(status, content_type, body);
        let before = fetches(&telemetry, "failed");
        let (session, asked) = (n.to_string(), backend.asked());
        for _ in 0..2 {
            let denied = ask(&authority, &session).await.unwrap_err();
            match denied {
                AuthError::Invalid(_) => assert!(can_tell, "{status} {body}"),
                AuthError::Unavailable(wait) => {
                    assert!(!can_tell && wait >= SECOND && wait <= SECOND * 5);
                }
                other => panic!("{other:?}"),
            }
        }
        let questions = if can_tell { 1 } else { 2 };
        assert_eq!(backend.asked() - asked, questions, "{status} {body}");
        let failures = if is_failure { questions as u64 } else { 0 };
        assert_eq!(fetches(&telemetry, "failed") - before, failures, "{status}");
    }
}

#[tokio::test]
async fn an_absent_authority_cannot_tell() {
    let (authority, backend, _) = world().await;
    *backend.answer.lock().unwrap() =
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"user\":\"alice\"}".into();
    let denied = ask(&authority, "1").await.unwrap_err();
    assert_eq!(denied.result(), "unavailable");
    *backend.answer.lock().unwrap() = "nonsense\r\n\r\n".into();
    let denied = ask(&authority, "1").await.unwrap_err();
    assert_eq!(denied.result(), "unavailable");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (authority, _, telemetry) = world_with(|it| *it = forward(&closed)).await;
    let denied = ask(&authority, "1").await.unwrap_err();
    assert_eq!(denied.result(), "unavailable");
    assert_eq!(fetches(&telemetry, "failed"), 1);
}

#[tokio::test]
async fn silence_is_waited_for_two_seconds() {
    let (authority, backend, _) = world().await;
    backend.hold();
    let since = Instant::now();
    let asking = authority.ask(sid("1"), context());
    backend.arrived.notified().await;
    tokio::time::pause();
    let denied = asking.answer().await.unwrap_err();
    assert_eq!(denied.result(), "unavailable");
    let waited = since.elapsed();
    assert!(waited >= PATIENCE && waited < SECOND * 4, "{waited:?}");
    tokio::time::resume();
    backend.release();
    assert_eq!(user(&ask(&authority, "1").await), "alice");
}

#[tokio::test]
async fn recheck_skips_the_cache_and_serves_all_its_connections() {
    let (authority, backend, _) = world_with(|it| it.cache = SECOND * 3600).await;
    let known = ask(&authority, "1").await.unwrap();
    pass(SECOND * 29).await;
    let same = recheck(&authority, "1", &known).await.unwrap();
    assert_eq!((same.at, backend.asked()), (known.at, 1));
    pass(SECOND * 31).await;
    backend.hold();
    let both = async {
        let one = recheck(&authority, "1", &known);
        tokio::join!(one, recheck(&authority, "1", &known))
    };
    let ((one, two), ()) = tokio::join!(both, async {
        backend.arrived.notified().await;
        backend.release();
    });
    assert_eq!((backend.asked(), &one), (2, &two));
    assert!(one.unwrap().at > known.at + SECOND * 59);
    pass(SECOND * 20).await;
    assert!(recheck(&authority, "1", &known).await.unwrap().at > known.at);
    assert_eq!(backend.asked(), 2);
}

#[tokio::test]
async fn logout_is_seen_by_a_recheck_and_by_later_requests() {
    let (authority, backend, _) = world_with(|it| it.cache = SECOND * 3600).await;
    let known = ask(&authority, "1").await.unwrap();
    backend.says_json("401 Unauthorized", "{}");
    pass(SECOND * 60).await;
    assert_eq!(user(&ask(&authority, "1").await), "alice", "not yet");
    let denied = recheck(&authority, "1", &known).await.unwrap_err();
    assert_eq!(denied.result(), "invalid");
    assert_eq!(user(&ask(&authority, "1").await), "unknown");
    assert_eq!(backend.asked(), 2);
}

#[tokio::test]
async fn outage_keeps_known_sessions_for_a_time_and_admits_no_new() {
    let (authority, backend, _) = world().await;
    let known = ask(&authority, "1").await.unwrap();
    backend.says_json("503 Service Unavailable", "");
    pass(SECOND * 60).await;
    let stale = recheck(&authority, "1", &known).await.unwrap();
    assert_eq!(stale.at, known.at, "no authority verified them since");
    for session in ["1", "2"] {
        let denied = ask(&authority, session).await.unwrap_err();
        assert_eq!(denied.result(), "unavailable");
    }
    pass(SECOND * 59).await;
    assert!(recheck(&authority, "1", &stale).await.is_ok());
    pass(SECOND * 1).await;
    let denied = recheck(&authority, "1", &stale).await.unwrap_err();
    assert_eq!(denied.result(), "unavailable");
    // A clear no counts at once, whatever was before.
    backend.says_json("401 Unauthorized", "");
    let denied = recheck(&authority, "1", &stale).await.unwrap_err();
    assert_eq!(denied.result(), "invalid");
}

#[tokio::test]
async fn a_forgotten_user_is_asked_for_again() {
    let (authority, backend, _) = world().await;
    let alice = ask(&authority, "1").await.unwrap();
    backend.says_json("200 OK", r#"{"user":"bob"}"#);
    let bob = ask(&authority, "2").await.unwrap();
    authority.forget_user("carol");
    authority.forget_user("alice");
    assert_eq!(user(&ask(&authority, "2").await), "bob");
    assert_eq!(backend.asked(), 2);
    ask(&authority, "1").await.unwrap();
    assert_eq!(backend.asked(), 3);
    authority.forget_credential(&bob.identity.credential);
    ask(&authority, "1").await.unwrap();
    assert_eq!(backend.asked(), 3);
    ask(&authority, "2").await.unwrap();
    assert_eq!(backend.asked(), 4);
    assert_ne!(alice.identity.credential, bob.identity.credential);
}

#[tokio::test]
async fn answer_under_way_during_revocation_is_not_cached() {
    let (authority, backend, _) = world().await;
    backend.hold();
    let before = authority.ask(sid("1"), context());
    backend.arrived.notified().await;
    authority.forget_user("alice");
    backend.says_json("401 Unauthorized", "{}");
    // A later caller does not get what was true before.
    let after = authority.ask(sid("1"), context());
    backend.arrived.notified().await;
    backend.release();
    assert_eq!(user(&before.answer().await), "alice");
    assert_eq!(user(&after.answer().await), "unknown");
    assert_eq!(user(&ask(&authority, "1").await), "unknown");
    assert_eq!(backend.asked(), 2);
}

#[tokio::test]
async fn authority_requests_are_bounded_and_a_lost_one_blocks_none() {
    let (authority, backend, _) = world().await;
    let key = AuthRequest::new("session", sid("1"), context()).key;
    let (number, tell, answer) = authority.state().set_out(key).unwrap();
    let lost = Landing::new(authority.clone(), key, number, tell);
    let waiting = authority.ask(sid("1"), context());
    drop(lost);
    assert_eq!(waiting.answer().await.unwrap_err().result(), "unavailable");
    drop(answer);
    assert_eq!(user(&ask(&authority, "1").await), "alice");

    let mut held = Vec::new();
    let mut n = 0u64;
    loop {
        let mut key = [1; 32];
        key[..8].copy_from_slice(&n.to_be_bytes());
        match authority.state().set_out(key) {
            Some(flight) => held.push(flight),
            None => break,
        }
        n += 1;
    }
    assert_eq!(user(&ask(&authority, "1").await), "alice", "it is known");
    let denied = ask(&authority, "2").await.unwrap_err();
    assert_eq!((denied.result(), backend.asked()), ("unavailable", 1));
}
