//! The demonstration's legacy backend: a polled list, its event stream, a login with a private
//! stream, and the page. It knows nothing of crossfade.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, COOKIE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION,
    SET_COOKIE,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::lanes::{Lane, Lanes, Observer};
use super::viewers::Viewers;
use super::world::DemoSnapshot;

/// Sessions that the login remembers; the oldest goes first.
const SESSIONS: usize = 1_000;
/// Largest form or control message.
const MAX_FORM: usize = 1_024;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Everything the handlers share.
pub(crate) struct Backend {
    /// The list, moving.
    pub(crate) list: watch::Receiver<DemoSnapshot>,
    /// The figures.
    pub(crate) lanes: Arc<Lanes>,
    /// The simulated viewers that the page's button opens.
    pub(crate) viewers: Viewers,
    /// Session id and user, oldest first.
    pub(crate) logins: Mutex<VecDeque<(String, String)>>,
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, backend: Arc<Backend>) {
    loop {
        let Ok((socket, _peer)) = listener.accept().await else {
            // Out of descriptors, most likely: let some viewer go first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let backend = Arc::clone(&backend);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| {
                let backend = Arc::clone(&backend);
                async move { Ok::<_, Infallible>(backend.answer(request).await) }
            });
            // A viewer that goes away in the middle is no news.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

/// Binds the backend to a free loopback port.
///
/// # Errors
/// Where the system has no port to give.
pub(crate) async fn bind() -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl Backend {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        match (request.method().as_str(), path.as_str()) {
            ("GET" | "HEAD", "/") => {
                asset("text/html; charset=utf-8", include_str!("page/index.html"))
            }
            ("GET" | "HEAD", "/demo/style.css") => {
                asset("text/css", include_str!("page/style.css"))
            }
            ("GET" | "HEAD", "/demo/app.js") => {
                asset("text/javascript", include_str!("page/app.js"))
            }
            ("GET" | "HEAD", "/api/jobs") => self.list(&request),
            ("GET", "/api/jobs/stream") => self.list_stream(),
            ("GET", "/api/inbox") => self.inbox(&request),
            ("GET", "/api/me") => self.me(&request),
            ("POST", "/login") => self.login(request).await,
            ("POST", "/logout") => self.logout(&request),
            ("GET", "/demo/figures") => self.figures(),
            ("POST" | "DELETE", "/demo/viewers") => self.set_viewers(request).await,
            _ => plain(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// The polled list. The page's own polling says so in the query; what comes without is the
    /// sidecar's poll for all WebSockets.
    fn list(&self, request: &Request<Incoming>) -> Answer {
        let polling = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("lane=polling"));
        let meter = self.lanes.of(if polling {
            Lane::Polling
        } else {
            Lane::WebSocket
        });
        meter.requests.fetch_add(1, Relaxed);
        let DemoSnapshot { version, body } = self.list.borrow().clone();
        let tag = format!("\"{version}\"");
        let known = request
            .headers()
            .get(IF_NONE_MATCH)
            .is_some_and(|sent| sent.as_bytes() == tag.as_bytes());
        let mut answer = if known {
            plain(StatusCode::NOT_MODIFIED, "")
        } else {
            meter.sent.fetch_add(body.len() as u64, Relaxed);
            whole(StatusCode::OK, "application/json", body)
        };
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            answer.headers_mut().insert(ETAG, tag);
        }
        answer
    }

    fn list_stream(&self) -> Answer {
        let held = HeldStream::new(Arc::clone(&self.lanes));
        held.lanes.of(Lane::Sse).requests.fetch_add(1, Relaxed);
        let mut list = self.list.clone();
        list.mark_changed();
        event_stream(stream::unfold(
            (list, held),
            |(mut list, held)| async move {
                list.changed().await.ok()?;
                let DemoSnapshot { version, body } = list.borrow_and_update().clone();
                let mut event = format!("id: {version}\nevent: jobs\ndata: ").into_bytes();
                event.extend_from_slice(&body);
                event.extend_from_slice(b"\n\n");
                held.lanes
                    .of(Lane::Sse)
                    .sent
                    .fetch_add(event.len() as u64, Relaxed);
                Some((Bytes::from(event), (list, held)))
            },
        ))
    }

    /// The figures, twice a second, as an event stream.
    fn figures(&self) -> Answer {
        let lanes = Arc::clone(&self.lanes);
        let observer = Observer::new(&lanes);
        event_stream(stream::unfold(
            (observer, lanes),
            |(mut observer, lanes)| async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let report = serde_json::to_string(&observer.look(&lanes)).ok()?;
                Some((
                    Bytes::from(format!("data: {report}\n\n")),
                    (observer, lanes),
                ))
            },
        ))
    }

    /// One user's private stream.
    fn inbox(&self, request: &Request<Incoming>) -> Answer {
        let Some(user) = self.user(request) else {
            return plain(StatusCode::UNAUTHORIZED, "log in first");
        };
        event_stream(stream::unfold(1u64, move |count| {
            let user = user.clone();
            async move {
                let wait = if count == 1 {
                    Duration::ZERO
                } else {
                    Duration::from_secs(3)
                };
                tokio::time::sleep(wait).await;
                let note = serde_json::json!({
                    "user": user, "text": format!("{user}, export {count} is ready"), "at": super::world::now_ms(),
                });
                Some((
                    Bytes::from(format!("id: {count}\ndata: {note}\n\n")),
                    count + 1,
                ))
            }
        }))
    }

    fn me(&self, request: &Request<Incoming>) -> Answer {
        match self.user(request) {
            Some(user) => json(&serde_json::json!({ "user": user })),
            None => plain(StatusCode::UNAUTHORIZED, "log in first"),
        }
    }

    async fn login(&self, request: Request<Incoming>) -> Answer {
        let form = form(request).await;
        let Some(user) = ["alice", "bob"]
            .into_iter()
            .find(|user| form == format!("user={user}"))
        else {
            return plain(StatusCode::BAD_REQUEST, "this backend knows alice and bob");
        };
        let session = format!("{:032x}", fastrand::u128(..));
        let cookie = format!("demo_session={session}; Path=/; HttpOnly; SameSite=Lax");
        let mut logins = self
            .logins
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        logins.push_back((session, user.to_owned()));
        if logins.len() > SESSIONS {
            logins.pop_front();
        }
        with_cookie(see_other("/"), &cookie)
    }

    fn logout(&self, request: &Request<Incoming>) -> Answer {
        if let Some(session) = session_cookie(request) {
            let mut logins = self
                .logins
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            logins.retain(|(known, _)| known != session);
        }
        with_cookie(see_other("/"), "demo_session=; Path=/; Max-Age=0")
    }

    fn user(&self, request: &Request<Incoming>) -> Option<String> {
        let session = session_cookie(request)?;
        let logins = self
            .logins
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        logins
            .iter()
            .find(|(known, _)| known == session)
            .map(|(_, user)| user.clone())
    }

    async fn set_viewers(&self, request: Request<Incoming>) -> Answer {
        let close = request.method() == Method::DELETE;
        let count = if close {
            0
        } else {
            form(request).await.parse().unwrap_or(500)
        };
        json(&serde_json::json!({ "viewers": self.viewers.set(count) }))
    }
}

/// Counts an open event stream for as long as it lives.
struct HeldStream {
    lanes: Arc<Lanes>,
}

impl HeldStream {
    fn new(lanes: Arc<Lanes>) -> Self {
        lanes.of(Lane::Sse).streams.fetch_add(1, Relaxed);
        HeldStream { lanes }
    }
}

impl Drop for HeldStream {
    fn drop(&mut self) {
        self.lanes.of(Lane::Sse).streams.fetch_sub(1, Relaxed);
    }
}

async fn form(request: Request<Incoming>) -> String {
    let body = Limited::new(request.into_body(), MAX_FORM).collect().await;
    let bytes = body.map(|body| body.to_bytes()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn session_cookie(request: &Request<Incoming>) -> Option<&str> {
    let cookies = request.headers().get(COOKIE)?.to_str().ok()?;
    cookies
        .split(';')
        .find_map(|pair| pair.trim().strip_prefix("demo_session="))
}

fn event_stream(events: impl Stream<Item = Bytes> + Send + 'static) -> Answer {
    use futures_util::StreamExt;
    let body = StreamBody::new(events.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes))));
    let mut answer = Response::new(UnsyncBoxBody::new(body));
    set(&mut answer, CONTENT_TYPE, "text/event-stream");
    set(&mut answer, CACHE_CONTROL, "no-cache");
    answer
}

fn asset(content_type: &'static str, text: &'static str) -> Answer {
    let mut answer = whole(
        StatusCode::OK,
        content_type,
        Bytes::from_static(text.as_bytes()),
    );
    set(&mut answer, CACHE_CONTROL, "no-cache");
    answer
}

fn json(value: &serde_json::Value) -> Answer {
    whole(StatusCode::OK, "application/json", value.to_string().into())
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    whole(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    )
}

fn see_other(location: &'static str) -> Answer {
    let mut answer = plain(StatusCode::SEE_OTHER, "");
    set(&mut answer, LOCATION, location);
    answer
}

fn with_cookie(mut answer: Answer, cookie: &str) -> Answer {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    answer
}

fn whole(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(UnsyncBoxBody::new(Full::new(body)));
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, content_type);
    answer
}

fn set(answer: &mut Answer, name: HeaderName, value: &'static str) {
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}
