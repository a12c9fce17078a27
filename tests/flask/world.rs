//! The Flask example under gunicorn, and crossfade before it with the example's own `proxy.toml`.

use std::{
    env,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// The longest that anything in these stories may take.
pub const SOON: Duration = Duration::from_secs(20);

/// Both processes; they end with the value.
pub struct World {
    pub public: SocketAddr,
    pub admin: SocketAddr,
    http: Client<HttpConnector, Full<Bytes>>,
    _backend: Child,
    _sidecar: Child,
}

/// What came back over HTTP.
pub struct Answer {
    pub status: StatusCode,
    pub cookies: Vec<(String, String)>,
    pub content_type: String,
    pub body: Bytes,
}

impl World {
    /// Starts both, or says on stderr why `story` did not run where Flask is not installed.
    pub async fn start(story: &str) -> Option<World> {
        let Some(venv) = env::var_os("CROSSFADE_FLASK_VENV") else {
            // Written to the handle, because the test harness hides what a passing test prints.
            let line = format!(
                "not run: flask::{story}: CROSSFADE_FLASK_VENV names no Python with Flask; `make test` makes one\n"
            );
            std::io::stderr()
                .write_all(line.as_bytes())
                .expect("stderr");
            return None;
        };
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flask-captions");

        let mut backend = Command::new(PathBuf::from(venv).join("bin/gunicorn"))
            .arg("app:app")
            .current_dir(&example)
            .env("CAPTIONS_BIND", "127.0.0.1:0")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("gunicorn starts");
        let upstream = said(backend.stderr.take().expect("a pipe"), |line| {
            Some(
                line.split_once("Listening at: ")?
                    .1
                    .split(' ')
                    .next()?
                    .to_owned(),
            )
        })
        .await;

        let mut sidecar = Command::new(env!("CARGO_BIN_EXE_crossfade"))
            .arg("run")
            .arg("--config")
            .arg(example.join("proxy.toml"))
            .env("CAPTIONS_BACKEND", upstream)
            .env("CROSSFADE_LISTEN", "127.0.0.1:0")
            .env("CROSSFADE_ADMIN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("crossfade starts");
        let ready = said(sidecar.stdout.take().expect("a pipe"), |line| {
            line.strip_prefix("ready ").map(str::to_owned)
        })
        .await;
        let address = |name: &str| {
            let url = ready
                .split(' ')
                .find_map(|word| word.strip_prefix(name))
                .expect("an address");
            url.strip_prefix("http://")
                .and_then(|url| url.parse().ok())
                .expect("an address")
        };

        Some(World {
            public: address("public="),
            admin: address("admin="),
            http: Client::builder(TokioExecutor::new()).build_http(),
            _backend: backend,
            _sidecar: sidecar,
        })
    }

    /// Logs in through the sidecar, with the password that the example gives this account.
    pub async fn login(&self, user: &str) -> Person {
        let body = serde_json::json!({"username": user, "password": format!("{user}-pass")});
        let answer = self
            .call(Method::POST, "/login", &Person::default(), Some(&body))
            .await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        Person {
            cookies: answer.cookies,
        }
    }

    /// Starts a captions task through the sidecar and gives its number.
    pub async fn start_task(&self, owner: &Person, steps: u32, seconds: f64) -> u64 {
        let body = serde_json::json!({"steps": steps, "seconds": seconds});
        let answer = self
            .call(Method::POST, "/api/tasks", owner, Some(&body))
            .await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        answer.json()["task_id"].as_u64().expect("a number")
    }

    /// One request through the sidecar, with the person's cookies and CSRF token.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        person: &Person,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.public));
        if !person.cookies.is_empty() {
            request = request
                .header(header::COOKIE, person.cookie_header())
                .header("x-csrftoken", person.csrf());
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(request.body(Full::from(body)).expect("a request"))
            .await
    }

    /// The admin API's answer to a GET.
    pub async fn admin(&self, path: &str) -> Value {
        let request = Request::get(format!("http://{}{path}", self.admin))
            .body(Full::default())
            .expect("a request");
        self.send(request).await.json()
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = timeout(SOON, self.http.request(request))
            .await
            .expect("an answer in time")
            .expect("an answer");
        let (head, body) = response.into_parts();
        let cookies = head.headers.get_all(header::SET_COOKIE).iter();
        Answer {
            status: head.status,
            cookies: cookies
                .map(|cookie| {
                    let pair = cookie
                        .to_str()
                        .expect("text")
                        .split(';')
                        .next()
                        .expect("a pair");
                    let (name, value) = pair.split_once('=').expect("a pair");
                    (name.to_owned(), value.to_owned())
                })
                .collect(),
            content_type: head
                .headers
                .get(header::CONTENT_TYPE)
                .map_or("", |value| value.to_str().expect("text"))
                .to_owned(),
            body: timeout(SOON, body.collect())
                .await
                .expect("a body in time")
                .expect("a body")
                .to_bytes(),
        }
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A browser's cookies; none by default.
#[derive(Default)]
pub struct Person {
    cookies: Vec<(String, String)>,
}

impl Person {
    pub fn cookie_header(&self) -> String {
        self.cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ")
    }

    pub fn csrf(&self) -> &str {
        self.cookies
            .iter()
            .find(|(name, _)| name == "csrftoken")
            .map_or("", |(_, value)| value)
    }
}

/// Waits for the line that a process says when it is ready; all later lines are read and dropped, so that it never blocks.
async fn said<R>(output: R, wanted: impl Fn(&str) -> Option<String>) -> String
where
    R: AsyncRead + Unpin + Send + 'static,
{
    let mut lines = BufReader::new(output).lines();
    let found = timeout(SOON, async {
        loop {
            let line = lines
                .next_line()
                .await
                .expect("readable")
                .expect("the process lives");
            if let Some(found) = wanted(&line) {
                return found;
            }
        }
    });
    let found = found.await.expect("ready in time");
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    found
}
