//! Whether every client may have what a public source reads: it is asked as the source would ask, without credentials.

use std::time::SystemTime;

use hyper::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::http::response::Parts;

use super::beginning;
use super::fetch::Fetcher;
use super::finding::{Finding, Findings, error, warning};
use super::live::{get, host};
use crate::config::{Poll, Route, Share, Source, Sse};
use crate::http::body::full;
use crate::source::answer::{self, AnswerVerdict, Trip};
use crate::source::poll::{ACCEPTED, is_document};

const EVENT_STREAM: &str = "text/event-stream";

/// Whether `check` can ask for it without a user's credentials, and without knowing more than the file.
pub(crate) fn is_open(route: &Route) -> bool {
    route.source.is_some() && route.share == Share::Public && !route.path.contains('{')
}

/// What comes of asking.
pub(crate) async fn ask(fetcher: &Fetcher, route: &Route) -> Findings {
    match &route.source {
        Some(Source::Sse(sse)) => listen(fetcher, route, sse).await,
        Some(Source::Poll(poll)) => fetch(fetcher, route, poll).await,
        None => Vec::new(),
    }
}

async fn listen(fetcher: &Fetcher, route: &Route, sse: &Sse) -> Findings {
    let Some(host) = host_of(route) else {
        return Vec::new();
    };
    let request = get(&route.path, host, EVENT_STREAM);
    let fix = "start the backend, or name a path that answers with an event stream";
    let unknown = |why: String| {
        let path = &route.path;
        let what = format!("{path}: nothing is known of the stream's beginning: {why}");
        vec![warning(key(route), what, fix)]
    };
    let listening = fetcher.listen(&route.upstream, request, beginning::TIME);
    let (head, bytes) = match listening.await {
        Ok(heard) => heard,
        Err(why) => return unknown(why),
    };
    if let Some(finding) = refused(route, &head) {
        return vec![finding];
    }
    match bytes {
        Some(bytes) => vec![beginning::told(key(route), &route.path, sse.join, &bytes)],
        None => unknown(format!(
            "it answers {} and no event stream",
            head.status.as_u16()
        )),
    }
}

async fn fetch(fetcher: &Fetcher, route: &Route, poll: &Poll) -> Findings {
    let Some(host) = host_of(route) else {
        return Vec::new();
    };
    let mut request = get(&route.path, host, ACCEPTED);
    *request.method_mut() = poll.method.clone();
    let identity = HeaderValue::from_static("identity");
    request.headers_mut().insert(ACCEPT_ENCODING, identity);
    if let Some((body, content_type)) = &poll.body {
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, content_type.clone());
        *request.body_mut() = full(body.clone());
    }
    // An unreachable server is reported elsewhere.
    let Ok(head) = fetcher.send(&route.upstream, request).await else {
        return Vec::new();
    };
    if let Some(finding) = refused(route, &head) {
        return vec![finding];
    }
    if matches!(head.status.as_u16(), 204 | 205) || is_document(head.status, &head.headers) {
        return Vec::new();
    }
    let answered = answer::described(head.status, &head.headers);
    let what = format!("{} answers {answered}, and no JSON document", route.path);
    let fix = "name a path that answers with JSON";
    vec![warning(key(route), what, fix)]
}

/// What an answer's head has against the route.
fn refused(route: &Route, head: &Parts) -> Option<Finding> {
    let (status, path) = (head.status, &route.path);
    let share = || format!("route.{}.share", route.index);
    let accepted = Some(&*route.accept);
    match answer::judge(status, &head.headers, accepted, SystemTime::now()) {
        AnswerVerdict::Good => None,
        AnswerVerdict::Tripped(trip, end) => {
            let code = end.code.as_str();
            let what = match &trip {
                Trip::Refusal(status) => {
                    format!(
                        "{path} answers {} where no credentials are sent",
                        status.as_u16()
                    )
                }
                Trip::Wires(..) => {
                    format!(
                        "{path} says by `{}` that its answer is not for all clients",
                        trip.reason()
                    )
                }
            };
            let what = format!("{what}: nothing of it would be delivered (`{code}`)");
            Some(error(share(), what, trip.fix(route)))
        }
        AnswerVerdict::Refused(end) => {
            let (code, number) = (end.code.as_str(), status.as_u16());
            let what = format!("{path} answers {number}: every client would be refused (`{code}`)");
            Some(match answer::sent_away(status) {
                Some(_) => error(share(), what, answer::refusal_fix(route)),
                None => warning(key(route), what, "name a path that is there"),
            })
        }
        AnswerVerdict::Failed(_) => {
            let answered = answer::described(status, &head.headers);
            let what = format!("{path} answers {answered}: clients would be told `live: false`");
            let fix = "look at the backend, or name the path that answers";
            Some(warning(key(route), what, fix))
        }
    }
}

/// The host that clients of this route ask for, as far as the file tells.
fn host_of(route: &Route) -> Option<&str> {
    let server = route.upstream.servers.first()?;
    let named = route.host.as_deref().filter(|host| !host.starts_with('*'));
    let named = named.filter(|_| route.upstream.host.is_none());
    Some(named.unwrap_or_else(|| host(&route.upstream, server)))
}

fn key(route: &Route) -> String {
    format!("route.{}.source", route.index)
}
