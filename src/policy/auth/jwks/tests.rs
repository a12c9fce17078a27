use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::policy::auth::jwt::tests::mint::{NOW, Signer, auth, claims, jwt};
use crate::policy::auth::jwt::{JwtVerdict, verify};

const ALLOWED: [Algorithm; 2] = [Algorithm::ES256, Algorithm::EdDSA];

/// Publishes the set it was given, and counts the requests.
#[derive(Clone)]
struct Publisher {
    address: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Publisher {
    async fn start() -> Publisher {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let publisher = Publisher {
            address: listener.local_addr().unwrap().to_string(),
            answer: Arc::default(),
            asked: Arc::default(),
            heads: Arc::default(),
        };
        let own = publisher.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    stream.read_buf(&mut head).await.unwrap();
                }
                own.asked.fetch_add(1, Ordering::SeqCst);
                let head = String::from_utf8(head).unwrap();
                own.heads.lock().unwrap().push(head);
                let answer = own.answer.lock().unwrap().clone();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        publisher
    }

    fn says(&self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        *self.answer.lock().unwrap() =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
    }

    fn publishes(&self, keys: &[Value]) {
        self.says("200 OK", "", &json!({ "keys": keys }).to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn set(&self) -> KeySet {
        let uri = format!("http://{}/jwks.json?v=1", self.address);
        let telemetry = Arc::<Telemetry>::default();
        let upstreams = Upstreams::new(telemetry.clone());
        KeySet::new(
            "main",
            &uri.parse().unwrap(),
            &ALLOWED,
            &upstreams,
            &telemetry,
        )
    }
}

/// The clock goes on at once; sockets would not keep up with one that stands still.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("in time");
}

/// As a caller does that has a token to verify.
async fn judge(set: &KeySet, signer: &Signer, kid: Option<&str>) -> JwtVerdict {
    let policy = jwt(signer.source(), &ALLOWED);
    let token = signer.issue(kid, &claims(json!({})));
    let judge = |keys: Arc<Keys>| verify(&auth(), &policy, &keys, &token, NOW);
    let unknown = JwtVerdict::UnknownKey(kid.map(str::to_owned));
    match set.current().map(judge) {
        None | Some(JwtVerdict::UnknownKey(_)) => set.fetch_for(kid).await.map_or(unknown, judge),
        Some(verdict) => verdict,
    }
}

async fn is_known(set: &KeySet, signer: &Signer, kid: Option<&str>) -> bool {
    matches!(judge(set, signer, kid).await, JwtVerdict::Known(_))
}

#[tokio::test]
async fn key_set_is_fetched_on_first_use_and_once_for_all() {
    let (publisher, signer) = (Publisher::start().await, Signer::new(Algorithm::ES256));
    publisher.publishes(&[signer.jwk("k1")]);
    let set = publisher.set();
    assert_eq!(publisher.asked(), 0);
    let all = (0..100).map(|_| is_known(&set, &signer, Some("k1")));
    let all = futures_util::future::join_all(all).await;
    assert!(all.iter().all(|is_known| *is_known));
    assert_eq!(publisher.asked(), 1);
    let head = publisher.heads.lock().unwrap().concat().to_lowercase();
    let host = format!("\r\nhost: {}\r\n", publisher.address);
    assert!(
        head.starts_with("get /jwks.json?v=1 http/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains(&host), "{head}");
}

#[tokio::test]
async fn unknown_keys_of_10k_tokens_cause_two_fetches_a_minute() {
    let (publisher, signer) = (Publisher::start().await, Signer::new(Algorithm::ES256));
    let set = publisher.set();
    publisher.publishes(&[signer.jwk("k1")]);
    assert!(is_known(&set, &signer, Some("k1")).await);
    for number in 0..10_000 {
        let keys = set.current().expect("they stay");
        assert!(!keys.holds(&number.to_string()));
        if let Some(keys) = set.fetch_for(Some(&number.to_string())).await {
            assert!(!keys.holds(&number.to_string()));
        }
        if number % 200 == 199 {
            later(1).await;
            assert!(is_known(&set, &signer, Some("k1")).await);
        }
    }
    // Fifty seconds have passed, and the first of the two was for the valid token.
    assert_eq!(publisher.asked(), 2);
}

#[tokio::test]
async fn a_new_key_is_found_by_the_first_token_that_names_it() {
    let (publisher, old) = (Publisher::start().await, Signer::new(Algorithm::ES256));
    let new = Signer::new(Algorithm::EdDSA);
    let set = publisher.set();
    publisher.publishes(&[old.jwk("k1")]);
    assert!(is_known(&set, &old, Some("k1")).await);
    publisher.publishes(&[new.jwk("k2")]);
    let all = (0..100).map(|_| is_known(&set, &new, Some("k2")));
    let all = futures_util::future::join_all(all).await;
    assert!(all.iter().all(|is_known| *is_known), "no caller is refused");
    assert_eq!(publisher.asked(), 2);
    // The old one is gone, and stays unknown without another fetch.
    later(60).await;
    assert!(!is_known(&set, &old, Some("k1")).await);
    later(60).await;
    assert!(!is_known(&set, &old, Some("k1")).await);
    assert_eq!(publisher.asked(), 3);
}

#[tokio::test]
async fn a_key_without_a_name_is_found_too() {
    let (publisher, old) = (Publisher::start().await, Signer::new(Algorithm::ES256));
    let new = Signer::new(Algorithm::ES256);
    let set = publisher.set();
    publisher.publishes(&[old.jwk("k1")]);
    assert!(is_known(&set, &old, None).await);
    publisher.publishes(&[new.jwk("k2")]);
    assert!(is_known(&set, &new, None).await);
    assert!(!is_known(&set, &old, None).await);
    assert_eq!(publisher.asked(), 2, "and the next one waits for its time");
}

#[tokio::test]
async fn a_set_is_fetched_ahead_without_a_wait() {
    let (publisher, old) = (Publisher::start().await, Signer::new(Algorithm::ES256));
    let new = Signer::new(Algorithm::ES256);
    let set = publisher.set();
    let body = json!({"keys": [old.jwk("k1")]}).to_string();
    publisher.says("200 OK", "Cache-Control: public, max-age=600\r\n", &body);
    assert!(is_known(&set, &old, Some("k1")).await);
    publisher.publishes(&[old.jwk("k1"), new.jwk("k2")]);
    later(479).await;
    assert_eq!(set.current().unwrap().count(), 1);
    later(1).await;
    assert_eq!(set.current().unwrap().count(), 1, "the old ones, at once");
    until(|| set.current().unwrap().count() == 2).await;
    assert_eq!(publisher.asked(), 2);
}

#[tokio::test]
async fn a_set_that_comes_up_late_is_noticed_soon() {
    let (publisher, signer) = (Publisher::start().await, Signer::new(Algorithm::ES256));
    publisher.says("503 Service Unavailable", "", "");
    let set = publisher.set();
    for pause in [1, 2, 4] {
        assert!(!is_known(&set, &signer, Some("k1")).await);
        let asked = publisher.asked();
        assert!(!is_known(&set, &signer, Some("k1")).await);
        assert_eq!(publisher.asked(), asked, "not at once again");
        later(pause).await;
    }
    publisher.publishes(&[signer.jwk("k1")]);
    assert!(is_known(&set, &signer, Some("k1")).await);
    assert_eq!(publisher.asked(), 4);
}

#[tokio::test]
async fn invalid_key_set_changes_nothing_and_old_keys_last_a_day() {
    let (publisher, signer) = (Publisher::start().await, Signer::new(Algorithm::ES256));
    let set = publisher.set();
    publisher.publishes(&[signer.jwk("k1")]);
    assert!(is_known(&set, &signer, Some("k1")).await);
    let start = Instant::now();
    let elsewhere = Publisher::start().await;
    let to = format!("Location: http://{}/\r\n", elsewhere.address);
    let html = "<html><title>Sign in</title></html>";
    let secret = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k9"}]}).to_string();
    let large = format!("{{\"keys\":[]}}{}", " ".repeat(64 << 10));
    for (status, headers, body) in [
        ("200 OK", "Content-Type: text/html\r\n", html),
        ("404 Not Found", "", "{}"),
        ("301 Moved Permanently", &to, ""),
        ("302 Found", &to, ""),
        ("307 Temporary Redirect", &to, ""),
        ("204 No Content", "", ""),
        ("206 Partial Content", "", &secret),
        ("200 OK", "", &large),
        ("200 OK", "", ""),
        ("200 OK", "", "\0\u{1}"),
        ("200 OK", "", "{\"keys\":[]}"),
        ("200 OK", "", &secret),
        ("500 Internal Server Error", "", &secret),
        ("garbage", "", ""),
    ] {
        publisher.says(status, headers, body);
        later(60 * 60).await;
        let asked = publisher.asked();
        assert!(is_known(&set, &signer, Some("k1")).await, "{status}");
        until(|| publisher.asked() > asked).await;
        // Its end is seen by the next whose turn it is.
        assert!(set.fetch_for(Some("k9")).await.is_none(), "{status} {body}");
    }
    assert_eq!(elsewhere.asked(), 0);
    assert!(is_known(&set, &signer, Some("k1")).await);
    later(24 * 60 * 60 - start.elapsed().as_secs()).await;
    assert!(set.current().is_none(), "a day is enough");
    until(|| set.0.turn.try_lock().is_ok()).await;
    assert!(!is_known(&set, &signer, Some("k1")).await);
    publisher.publishes(&[signer.jwk("k1")]);
    later(30).await;
    assert!(is_known(&set, &signer, Some("k1")).await);
}

#[tokio::test]
async fn key_fetch_wait_ends_after_5s_and_leavers_stop_nothing() {
    let (publisher, signer) = (Publisher::start().await, Signer::new(Algorithm::ES256));
    // Connections to it are accepted by the kernel and never read.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = Publisher {
        address: listener.local_addr().unwrap().to_string(),
        ..publisher.clone()
    };
    let set = silent.set();
    let asking = {
        let set = set.clone();
        tokio::spawn(async move { set.fetch_for(None).await.is_none() })
    };
    until(|| set.0.turn.try_lock().is_err()).await;
    later(6).await;
    assert!(asking.await.unwrap());

    let set = publisher.set();
    publisher.publishes(&[signer.jwk("k1")]);
    let asked_and_gone = set.fetch_for(None).now_or_never();
    assert!(asked_and_gone.is_none());
    until(|| set.0.fresh().is_some()).await;
    assert_eq!(publisher.asked(), 1);
}

#[test]
fn a_publisher_says_how_long_within_reason() {
    for (lines, seconds) in [
        (&[][..], 3600),
        (&["public"], 3600),
        (&["max-age=600"], 600),
        (&["public, MAX-AGE=600, must-revalidate"], 600),
        (&["max-age=\"600\""], 600),
        (&["max-age=0"], 60),
        (&["max-age=59"], 60),
        (&["no-store"], 60),
        (&["no-cache, max-age=600"], 60),
        (&["max-age=600", "max-age=700"], 600),
        (&["max-age=99999999"], 86_400),
        (&["max-age=99999999999999999999999"], 3600),
        (&["max-age=-1"], 3600),
        (&["max-age"], 3600),
        (&["s-maxage=600"], 3600),
    ] {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, line.parse().unwrap());
        }
        assert_eq!(max_age(&headers).as_secs(), seconds, "{lines:?}");
    }
}
