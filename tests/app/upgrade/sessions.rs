//! Clients of Socket.IO come back to the process that has taken over.

use serde_json::Value;

use super::world::Dynasty;
use crate::harness::{Socket, builder::Builder, proxy};

const NAMESPACE: &str = r#"
[socketio]

[[socketio.namespace]]
name = "/"
subscribe = ["/ids"]
"#;

fn world() -> Builder {
    proxy().sse("/ids").everything().toml(NAMESPACE)
}

struct Client {
    public: String,
    socket: Socket,
    pid: String,
    offset: String,
    seen: Vec<u64>,
}

/// Connects with this payload; the answer's `pid`.
async fn connect(public: &str, payload: &str) -> (Socket, String) {
    let origin = format!("origin: {public}");
    let path = "/socket.io/?EIO=4&transport=websocket";
    let opened = Socket::open(public, path, &[&origin]).await;
    let mut socket = opened.unwrap_or_else(|answer| panic!("{}", answer.status()));
    socket.text().await.unwrap();
    socket.say(&format!("40{payload}")).await;
    let text = socket.text().await.unwrap();
    let answer: Value = serde_json::from_str(text.strip_prefix("40").expect(&text)).unwrap();
    (socket, answer["pid"].as_str().unwrap().to_owned())
}

impl Client {
    async fn join(public: &str) -> Self {
        let (socket, pid) = connect(public, "").await;
        Client {
            public: public.to_owned(),
            socket,
            pid,
            offset: String::new(),
            seen: Vec::new(),
        }
    }

    /// Reads up to this number.
    async fn sees(&mut self, n: u64) {
        while self.seen.last() != Some(&n) {
            let text = self.socket.text().await.unwrap();
            self.take(&text);
        }
    }

    fn take(&mut self, text: &str) {
        let event = text.strip_prefix("42").unwrap_or("null");
        let event: Value = serde_json::from_str(event).unwrap();
        if event[0] == "message" {
            self.seen.push(event[1]["n"].as_u64().unwrap());
            self.offset = event[2].as_str().unwrap().to_owned();
        }
    }

    async fn comes_back(&mut self) {
        let offer = serde_json::json!({ "pid": self.pid, "offset": self.offset });
        let (socket, pid) = connect(&self.public, &offer.to_string()).await;
        assert_eq!(pid, self.pid);
        self.socket = socket;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn session_of_before_is_found_by_the_new_process() {
    let app = world().app().await;
    let mut dynasty = Dynasty::start(&app.backend, "drain_timeout = \"4s\"", &world().text());
    let mut stays = Client::join(&dynasty.public).await;
    let mut returns = Client::join(&dynasty.public).await;
    app.backend.reached(1).await;
    let n = app.publish();
    stays.sees(n).await;
    returns.sees(n).await;
    // It is away while the process changes.
    returns.socket = Client::join(&dynasty.public).await.socket;
    let n = app.publish();
    stays.sees(n).await;
    dynasty.upgrade().await;
    let n = app.publish();
    returns.comes_back().await;
    returns.sees(n).await;
    // The first process sends its own client away, which reads on until then.
    let code = loop {
        match stays.socket.text().await {
            Ok(text) => stays.take(&text),
            Err(code) => break code,
        }
    };
    assert_eq!(code, 4200);
    stays.comes_back().await;
    let n = app.publish();
    stays.sees(n).await;
    returns.sees(n).await;
    assert_eq!(returns.seen, [1, 2, 3, 4]);
    assert_eq!(stays.seen, [1, 2, 3, 4]);
    assert_eq!(dynasty.first_ends().await, Some(0));
}
