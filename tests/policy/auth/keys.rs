//! Key sets behind a URL: fetched, rotated, out of reach, and pestered.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{WS, guarded, problem};
use crate::harness::{
    Backend, JSON, Proxy, Seen,
    auth::{bearer, claims, encode, jwt},
    reply, within,
};

/// Somebody who signs with a key of their own.
struct Signer {
    kid: &'static str,
    key: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    fn es256(kid: &'static str) -> Signer {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
        Signer {
            kid,
            key: Pair::Ec(key),
        }
    }

    fn eddsa(kid: &'static str) -> Signer {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        Signer {
            kid,
            key: Pair::Ed(key),
        }
    }

    fn token(&self) -> String {
        self.token_by(self.kid)
    }

    /// Naming this key, whoever signs.
    fn token_by(&self, kid: &str) -> String {
        let alg = match &self.key {
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        };
        let header = json!({"alg": alg, "kid": kid}).to_string();
        let claims = claims(json!({})).to_string();
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = match &self.key {
            Pair::Ec(key) => key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap(),
            Pair::Ed(key) => key.sign(signed.as_bytes()),
        };
        format!("{signed}.{}", encode(signature))
    }

    fn jwk(&self) -> Value {
        match &self.key {
            Pair::Ec(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                let (x, y) = (encode(x), encode(y));
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.kid})
            }
            Pair::Ed(key) => {
                let x = encode(key.public_key());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid})
            }
        }
    }
}

/// Who publishes keys.
struct Publisher {
    backend: Backend,
    shown: Arc<Mutex<Option<Value>>>,
}

impl Publisher {
    async fn start_at(address: SocketAddr, signers: &[&Signer]) -> Publisher {
        let shown = Arc::new(Mutex::new(None::<Value>));
        let set = shown.clone();
        let backend = Backend::start_at(address, move |_, peer| {
            let shown = set.lock().unwrap().clone();
            async move {
                let json = "content-type: application/jwk-set+json\r\n";
                match shown {
                    Some(set) => reply(peer, "200 OK", json, &set.to_string()).await,
                    None => reply(peer, "500 Broken", "", "").await,
                }
            }
        });
        let backend = backend.await;
        let publisher = Publisher { backend, shown };
        publisher.publish(signers);
        publisher
    }

    async fn start(signers: &[&Signer]) -> Publisher {
        Publisher::start_at(([127, 0, 0, 1], 0).into(), signers).await
    }

    fn publish(&self, signers: &[&Signer]) {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
        *self.shown.lock().unwrap() = Some(json!({ "keys": keys }));
    }

    fn break_down(&self) {
        *self.shown.lock().unwrap() = None;
    }

    fn fetches(&self) -> usize {
        self.backend.seen().len()
    }
}

async fn started(publisher: SocketAddr) -> Proxy {
    let url = format!("jwks_url = \"http://{publisher}/keys\"");
    let policy = jwt().without("secret").line(&url);
    let policy = policy.line("algorithms = [\"ES256\", \"EdDSA\"]");
    guarded(policy).start().await
}

async fn status(proxy: &Proxy, token: &str) -> u16 {
    proxy.ask("GET /app/page", &[&bearer(token)]).await.status()
}

#[tokio::test]
async fn keys_are_fetched_once_and_a_rotation_goes_unnoticed() {
    let (one, two) = (Signer::es256("one"), Signer::eddsa("two"));
    let publisher = Publisher::start(&[&one]).await;
    let proxy = started(publisher.backend.address).await;
    let token = one.token();
    for _ in 0..3 {
        assert_eq!(status(&proxy, &token).await, 200);
    }
    assert_eq!(publisher.fetches(), 1);
    publisher.publish(&[&one, &two]);
    // A crowd comes with the new key at once: one fetch for all.
    let newer = two.token();
    let crowd = (0..20).map(|_| status(&proxy, &newer));
    let statuses = futures_util::future::join_all(crowd).await;
    assert_eq!(statuses, [200; 20]);
    assert_eq!(status(&proxy, &token).await, 200);
    assert_eq!(publisher.fetches(), 2);
    let (_socket, _) = proxy.welcomed("/stream", &[&bearer(&newer)]).await;
}

#[tokio::test]
async fn missing_key_set_fails_protected_routes_only() {
    let vacant = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = vacant.local_addr().unwrap();
    drop(vacant);
    let proxy = started(address).await;
    let signer = Signer::es256("one");
    let by = bearer(&signer.token());
    for answer in [
        proxy.ask("GET /app/page", &[&by]).await,
        proxy.shake("/stream", &[&by]).await,
        proxy.shake("/stream", &[&by, JSON]).await,
        proxy.shake("/app/socket", &[&by]).await,
    ] {
        let (status, code, _) = problem(&answer);
        assert_eq!((status, &*code), (503, "auth_unavailable"));
        let seconds: u32 = answer.field("retry-after").unwrap().parse().unwrap();
        assert!(seconds >= 1);
    }
    let mut one = proxy.open("/stream", &[JSON]).await;
    one.send(json!({"t": "hello", "token": signer.token()}))
        .await;
    assert_eq!(one.closed().await, 4100);
    let (mut many, _) = proxy.welcomed(WS, &[&by]).await;
    many.send(json!({"t": "sub", "id": 1, "path": "/stream"}))
        .await;
    let refused = many.frame_unless("err", "ok").await;
    assert_eq!(refused["status"], 503, "{refused}");
    // Whoever has no token at all is not known, whatever the keys.
    assert_eq!(proxy.ask("GET /app/page", &[]).await.status(), 401);
    assert_eq!(proxy.backend().seen().len(), 0);
    assert_eq!(proxy.ask("GET /open/page", &[]).await.status(), 200);
    many.subscribe(2, "/news").await;
    let _publisher = Publisher::start_at(address, &[&signer]).await;
    within("keys", async {
        while status(&proxy, &signer.token()).await == 503 {}
    })
    .await;
    assert_eq!(status(&proxy, &signer.token()).await, 200);
    many.subscribe(3, "/stream").await;
}

#[tokio::test]
async fn old_keys_are_kept_while_their_publisher_is_down() {
    let (one, two) = (Signer::es256("one"), Signer::es256("two"));
    let publisher = Publisher::start(&[&one]).await;
    let proxy = started(publisher.backend.address).await;
    assert_eq!(status(&proxy, &one.token()).await, 200);
    publisher.break_down();
    // This one makes it ask, in vain.
    assert_eq!(status(&proxy, &two.token()).await, 401);
    assert_eq!(publisher.fetches(), 2);
    assert_eq!(status(&proxy, &one.token()).await, 200);
    let mut socket = proxy.open("/stream", &[JSON, &bearer(&one.token())]).await;
    assert!(matches!(socket.next().await, Seen::Frame(_)));
}

#[tokio::test]
async fn tokens_of_random_keys_cause_two_fetches_at_most() {
    let (signer, stranger) = (Signer::es256("one"), Signer::es256("one"));
    let publisher = Publisher::start(&[&signer]).await;
    let proxy = started(publisher.backend.address).await;
    assert_eq!(status(&proxy, &signer.token()).await, 200);
    let proxy = &proxy;
    let names = (0..200).map(|number| format!("random-{number}"));
    let tokens: Vec<String> = names.map(|name| stranger.token_by(&name)).collect();
    for crowd in tokens.chunks(20) {
        let crowd = crowd.iter().map(|token| status(proxy, token));
        let statuses = futures_util::future::join_all(crowd).await;
        assert_eq!(statuses, [401; 20]);
        assert_eq!(status(proxy, &signer.token()).await, 200);
    }
    // Who names a key that is there and has not got it.
    assert_eq!(status(proxy, &stranger.token()).await, 401);
    assert!(publisher.fetches() <= 2, "{}", publisher.fetches());
    assert_eq!(proxy.backend().seen().len(), 11);
}
