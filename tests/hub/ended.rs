//! A job's stream that is over: a client that was cut off one event before the end gets that event.

use std::time::Duration;

use crate::harness::{Backend, JSON, Proxy, eventually, reply};

const ROUTES: &str = r#"
[[route]]
path = "/done"
upstream = "app"
source = {kind = "sse", final = ["done"]}

[[route]]
path = "/gone"
upstream = "app"
source = "sse"
"#;

/// Three steps and the last word, at once; afterwards the backend knows nothing of it.
async fn jobs() -> Backend {
    let asked = std::sync::Mutex::new(Vec::new());
    let asked = std::sync::Arc::new(asked);
    Backend::start(move |request, mut peer| {
        let asked = asked.clone();
        async move {
            let path = request.target().to_owned();
            let is_known = asked.lock().unwrap().contains(&path);
            if is_known {
                return reply(peer, "404 Not Found", "", "").await;
            }
            asked.lock().unwrap().push(path);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            let steps = (1..=3).map(|n| format!("id: {n}\ndata: {n}\n\n"));
            let steps: String = steps.collect();
            peer.send(format!("{head}{steps}id: 4\nevent: done\ndata: 4\n\n"))
                .await;
            None
        }
    })
    .await
}

struct Jobs {
    backend: Backend,
    proxy: Proxy,
}

impl Jobs {
    async fn start() -> Jobs {
        let backend = jobs().await;
        let proxy = Proxy::before(&backend, "", ROUTES).await;
        Jobs { backend, proxy }
    }

    /// A client that is cut when it has the third step; its place.
    async fn cut(&self, path: &str) -> String {
        let mut client = self.proxy.open(path, &[JSON]).await;
        loop {
            let event = client.frame("ev").await;
            if event["d"] == 3 {
                return event["o"].as_str().unwrap().to_owned();
            }
        }
    }

    async fn gets_the_rest(&self, path: &str, code: &str, is_final: bool, close: u16) {
        let place = self.cut(path).await;
        eventually("no session is there", async || {
            self.proxy.handle.shared().sessions.count() == 0
        })
        .await;
        // Without a client the stream is not asked for again, however often that would have been due.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(self.backend.asked_for(path).len(), 1);
        for query in [format!("cf_after={place}"), "cf_last_event_id=3".into()] {
            let mut back = self.proxy.open(&format!("{path}?{query}"), &[JSON]).await;
            assert_eq!(back.frame("ok").await["recovered"], true);
            assert_eq!(back.frame_unless("ev", "gap").await["d"], 4);
            let end = back.frame("end").await;
            assert_eq!(
                (&end["code"], &end["final"]),
                (&code.into(), &is_final.into())
            );
            let mut raw = self.proxy.open(&format!("{path}?{query}"), &[]).await;
            assert_eq!(raw.message().await, 4);
            assert_eq!(raw.closed().await, close);
        }
        // With the last id, and without.
        assert!(self.backend.asked_for(path).len() <= 3);
    }
}

#[tokio::test]
async fn a_job_that_said_its_last_word_is_resumed() {
    let job = Jobs::start().await;
    job.gets_the_rest("/done", "upstream_closed", true, 1000)
        .await;
}

#[tokio::test]
async fn a_job_that_the_backend_forgot_is_resumed() {
    let job = Jobs::start().await;
    job.gets_the_rest("/gone", "not_found", false, 4004).await;
    // A new client is told by the backend.
    let mut newcomer = job.proxy.open("/gone", &[JSON]).await;
    assert_eq!(newcomer.frame("err").await["code"], "not_found");
}
