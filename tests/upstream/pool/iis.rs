//! A backend that authenticates connections, as IIS does, and crossfade before it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::harness::{Backend, Message, Peer};

/// A request as it was served.
#[derive(Clone, Debug)]
pub struct Served {
    pub target: String,
    /// Whose its connection was.
    pub user: Option<String>,
}

pub struct Iis {
    pub backend: Backend,
    served: Arc<Mutex<Vec<Served>>>,
}

impl Iis {
    pub async fn start() -> Iis {
        let served: Arc<Mutex<Vec<Served>>> = Arc::default();
        let (record, count) = (served.clone(), AtomicUsize::new(0));
        let backend = Backend::by_hand(move |peer, _| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            talk(peer, number, record.clone())
        })
        .await;
        Iis { backend, served }
    }

    pub fn served(&self, target: &str) -> Vec<Served> {
        let served = self.served.lock().unwrap();
        let of_it = served.iter().filter(|served| served.target == target);
        of_it.cloned().collect()
    }
}

/// What a connection knows of its user.
#[derive(Default)]
struct Login {
    challenge: Option<String>,
    user: Option<String>,
}

impl Login {
    /// Takes a credential in; the fields of the answer.
    fn take(&mut self, credential: &str, connection: usize) -> &'static str {
        let (scheme, rest) = credential.split_once(' ').unwrap_or_default();
        let (step, name) = rest.split_once(':').unwrap_or_default();
        match (scheme.to_ascii_lowercase().as_str(), step) {
            ("ntlm", "hello") => {
                self.user = None;
                self.challenge = Some(format!("{name}@{connection}"));
            }
            ("ntlm", "proof") if self.challenge.as_deref() == Some(name) => {
                let (user, _) = name.split_once('@').unwrap();
                self.user = Some(user.to_owned());
            }
            ("ntlm" | "negotiate", "quiet") => self.user = Some(name.to_owned()),
            ("negotiate", "ticket") => {
                self.user = Some(name.to_owned());
                return "WWW-Authenticate: Negotiate oYG2\r\n";
            }
            ("kerberos", "ticket") => {
                self.user = Some(name.to_owned());
                return "Persistent-Auth: true\r\n";
            }
            _ => {}
        }
        ""
    }
}

async fn talk(mut peer: Peer, connection: usize, served: Arc<Mutex<Vec<Served>>>) {
    let mut login = Login::default();
    while let Some(request) = peer.request().await {
        let credential = request.field("authorization").unwrap_or_default();
        let fields = login.take(credential, connection);
        served.lock().unwrap().push(Served {
            target: request.target().to_owned(),
            user: login.user.clone(),
        });
        let is_open = match (&login.user, login.challenge.take()) {
            (Some(user), _) if request.field("upgrade").is_some() => {
                return upgrade(peer, &request, user).await;
            }
            (Some(user), _) => answer(&mut peer, &request, "200 OK", fields, user).await,
            (None, Some(challenge)) => {
                let fields = format!("WWW-Authenticate: NTLM {challenge}\r\n");
                login.challenge = Some(challenge);
                answer(&mut peer, &request, "401 Unauthorized", &fields, "log in").await
            }
            (None, None) if request.target() == "/healthz" => {
                answer(&mut peer, &request, "200 OK", "", "ok").await
            }
            (None, None) => {
                let fields = "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n";
                answer(&mut peer, &request, "401 Unauthorized", fields, "log in").await
            }
        };
        if !is_open || request.target() == "/last" {
            return;
        }
    }
}

/// To `/slow` the body comes later than the head.
async fn answer(
    peer: &mut Peer,
    request: &Message,
    status: &str,
    fields: &str,
    body: &str,
) -> bool {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{fields}\r\n");
    if request.line.starts_with("HEAD ") {
        return peer.try_send(head).await;
    }
    if request.target() == "/slow" {
        peer.try_send(head).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        return peer.try_send(body).await;
    }
    peer.try_send(head + body).await
}

/// Tells the user's name, and waits for the end.
async fn upgrade(mut peer: Peer, request: &Message, user: &str) {
    let key = request.field("sec-websocket-key").unwrap();
    let accept = derive_accept_key(key.as_bytes());
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    peer.send(format!(
        "{head}Sec-WebSocket-Accept: {accept}\r\n\r\n{user}"
    ))
    .await;
    peer.rest().await;
}
