//! A client's request upstream: with its credentials, on routes that allow it, answered exactly once.
//!
//! Three outcomes are distinguished: *done* (`res`, whatever the status), *unknown* (`err`
//! `outcome_unknown`: bytes may have been sent and no whole answer came) and *not executed* (any
//! other `err`).

mod headers;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::header::SET_COOKIE;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::time::timeout;

use headers::{headers_of, told};

use super::Services;
use super::answer_body::AnswerBody;
use super::client::{Client, Located};
use super::credentials::Presented;
use crate::config::{Calls, Route};
use crate::error::{Code, Error, ErrorKind, Refusal};
use crate::http::body::{Body, empty, full};
use crate::http::{header_names, hop_by_hop};
use crate::packet::Packet;
use crate::policy::auth::{Authenticated, csrf};
use crate::protocol::{Codec, Output, Req, Tag};
use crate::router::InForce;
use crate::upstream::{ClientAddress, Purpose};

/// Largest body of an answer, as of every message to a client.
const ANSWER: usize = 1 << 20;

/// A request under way.
pub(super) struct Call {
    /// For the answer.
    pub(crate) id: Tag,
    answer: Pin<Box<dyn Future<Output = CallAnswer> + Send>>,
}

impl Call {
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<CallAnswer> {
        self.answer.as_mut().poll(cx)
    }
}

/// What came of a request.
pub(super) struct CallAnswer(Result<Reply, Refusal>);

struct Reply {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: AnswerBody,
}

impl CallAnswer {
    /// Answers the request.
    pub(crate) fn encode(&self, id: &Tag, codec: &mut dyn Codec, send: &mut dyn FnMut(Packet)) {
        let reply = match &self.0 {
            Ok(reply) => reply,
            Err(refusal) => {
                return codec.encode(&Output::Err { id, refusal }, send);
            }
        };
        let answer = Output::Res {
            id,
            status: reply.status.as_u16(),
            headers: &reply.headers,
            body: reply.body.kind(),
        };
        codec.encode(&answer, send);
    }

    /// The body of an answer that says that it was done as asked.
    pub(crate) fn success(&self) -> Option<&AnswerBody> {
        let reply = self.0.as_ref().ok()?;
        reply.status.is_success().then_some(&reply.body)
    }
}

/// The sender of a request.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(crate) client: &'a Client,
    pub(crate) presented: &'a Presented,
    /// The user that the route's policy has admitted, where it has one.
    pub(crate) admission: Option<&'a Authenticated>,
    /// How long the request has waited for its turn: that is a part of its time.
    pub(crate) waited: Duration,
}

/// The method of a request.
///
/// # Errors
/// It is none.
pub(super) fn method_of(request: &Req) -> Result<Method, Refusal> {
    Method::from_bytes(request.method.as_bytes())
        .map_err(|_| Refusal::new(Code::BadFrame, "the method is none"))
}

/// Sends a request on its way that the policies of its route let pass.
///
/// # Errors
/// The route takes no such request, or it makes no sense: not executed.
pub(super) fn start(
    shared: &Arc<Services>,
    in_force: &InForce,
    caller: Caller<'_>,
    (found, url): Located,
    request: Req,
) -> Result<Call, Refusal> {
    let method = method_of(&request)?;
    let route = found.route;
    let calls = match &route.calls {
        Some(calls) if calls.methods.contains(&method) => Calls {
            timeout: calls.timeout.saturating_sub(caller.waited),
            ..calls.clone()
        },
        _ => {
            return Err(Refusal::new(
                Code::Forbidden,
                "the route takes no such request",
            ));
        }
    };
    if calls.timeout.is_zero() {
        let detail = "the request has waited too long for its turn";
        return Err(Refusal::new(Code::UpstreamDown, detail));
    }
    if request.body.as_ref().map_or(0, Bytes::len) > calls.max_body {
        return Err(Refusal::new(
            Code::PayloadTooLarge,
            "the body is above the route's limit",
        ));
    }
    let mut headers = headers_of(caller, &calls, &request)?;
    header_names::remove_aliases(&mut headers, &in_force.config.identity_headers);
    if let Some(admission) = caller.admission {
        headers.extend(
            admission
                .fields(None)
                .into_iter()
                .map(|(name, value)| (Some(name), value)),
        );
    }
    let errand = Errand {
        shared: shared.clone(),
        may_repeat: calls.idempotent && request.key.is_some(),
        client: (route.upstream.balance)
            .wants_address()
            .then(|| ClientAddress(caller.client.remote.as_str().into())),
        route,
        calls,
        method,
        url,
        headers,
        body: request.body,
    };
    Ok(Call {
        id: request.id,
        answer: Box::pin(async move { CallAnswer(errand.run().await) }),
    })
}

/// A write by a user that a cookie identified has to bring what a foreign page cannot know.
pub(super) fn judge_csrf(
    request: &Req,
    admission: &Authenticated,
    presented: &Presented,
) -> Result<(), Refusal> {
    match &admission.found.auth.csrf {
        Some(csrf) if admission.is_by_cookie() => {
            let cookie = presented.cookie();
            let method = method_of(request)?;
            let judged = csrf::judge_call(&method, cookie.as_ref(), &request.headers, csrf);
            judged.map_err(|refused| Refusal::new(Code::Forbidden, refused.detail()))
        }
        _ => Ok(()),
    }
}

/// A request ready to go.
struct Errand {
    shared: Arc<Services>,
    route: Arc<Route>,
    calls: Calls,
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Option<Bytes>,
    client: Option<ClientAddress>,
    may_repeat: bool,
}

impl Errand {
    async fn run(self) -> Result<Reply, Refusal> {
        let mut outcome = self.attempt().await;
        let is_unknown = matches!(&outcome, Err(refusal) if refusal.code == Code::OutcomeUnknown);
        if is_unknown && self.may_repeat {
            outcome = self.attempt().await;
        }
        let reply = outcome?;
        if reply.status.is_success() || reply.status.is_redirection() {
            self.refresh();
        }
        Ok(reply)
    }

    async fn attempt(&self) -> Result<Reply, Refusal> {
        let mut request = self.request()?;
        // Ends with the attempt.
        let span = (self.shared.telemetry)
            .traces
            .trace_own("req", &self.route.name);
        span.mark(request.extensions_mut());
        let upstreams = &self.shared.upstreams;
        let sent = upstreams.send(
            &self.route.upstream,
            &self.route.name,
            Purpose::Call,
            request,
        );
        let answer = match timeout(self.calls.timeout, sent).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.failed(&error)),
            Err(_) => return Err(self.too_late()),
        };
        self.reply(answer).await
    }

    fn request(&self) -> Result<Request<Body>, Refusal> {
        let body = match &self.body {
            Some(body) => full(body.clone()),
            None => empty(),
        };
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.url)
            .body(body)
            .map_err(|_| Refusal::new(Code::BadFrame, "the path is no URL"))?;
        *request.headers_mut() = self.headers.clone();
        if let Some(client) = &self.client {
            request.extensions_mut().insert(client.clone());
        }
        Ok(request)
    }

    async fn reply(&self, answer: Response<Body>) -> Result<Reply, Refusal> {
        let (mut head, body) = answer.into_parts();
        let cookies = head.headers.get_all(SET_COOKIE).iter().count();
        if cookies > 0 {
            self.shared
                .telemetry
                .sessions
                .cookies_dropped(&self.route.name, cookies as u64);
        }
        hop_by_hop::strip(&mut head.headers);
        let body = match timeout(self.calls.timeout, Limited::new(body, ANSWER).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                self.without_body()?
            }
            Ok(Err(_)) => {
                let error = Error::upstream(ErrorKind::Broken, "the answer broke off");
                return Err(self.failed(&error));
            }
            Err(_) => return Err(self.too_late()),
        };
        Ok(Reply {
            status: head.status,
            headers: told(&head.headers),
            body: AnswerBody::new(body, &head.headers),
        })
    }

    /// What stands for a body above the limit: a write was done, and that has to be said; a request
    /// that only wanted the body has nothing.
    fn without_body(&self) -> Result<Bytes, Refusal> {
        match self.method.is_safe() {
            true => Err(Refusal::new(
                Code::PayloadTooLarge,
                "the answer is above the limit of a message",
            )),
            false => Ok(Bytes::new()),
        }
    }

    /// Requests that change nothing are as good as not executed when no answer comes.
    fn failed(&self, error: &Error) -> Refusal {
        match error.kind {
            ErrorKind::Connect => Refusal::new(Code::UpstreamDown, "the backend cannot be reached"),
            ErrorKind::NoneHealthy | ErrorKind::Busy => Refusal {
                retry_ms: error.retry_after.map(|wait| wait.as_millis() as u64),
                ..Refusal::new(Code::UpstreamDown, error.detail.clone())
            },
            ErrorKind::Timeout => self.too_late(),
            _ if self.method.is_safe() => {
                Refusal::new(Code::UpstreamDown, "the backend gave no whole answer")
            }
            _ => Refusal::new(
                Code::OutcomeUnknown,
                "the request was sent and no whole answer came",
            ),
        }
    }

    fn too_late(&self) -> Refusal {
        match self.method.is_safe() {
            true => Refusal::new(Code::UpstreamTimeout, "the backend did not answer in time"),
            false => Refusal::new(
                Code::OutcomeUnknown,
                "the request was sent and not answered in time",
            ),
        }
    }

    /// Triggers the polls that this write may have made stale.
    fn refresh(&self) {
        let in_force = self.shared.in_force.load();
        let path = self.url.split('?').next().unwrap_or_default();
        let refreshed = in_force.routes.refreshed_by(&self.method, path);
        if refreshed.is_empty() {
            return;
        }
        self.shared.hub.refresh(|target| {
            refreshed.iter().any(|(route, params)| {
                route.name == target.route.name
                    && params.iter().all(|param| target.params.contains(param))
            })
        });
    }
}
