//! One request and the head of its answer, over one connection.

use hyper::header::UPGRADE;
use hyper::{Request, Response, StatusCode, Version};

use super::http1::{Http1, State, Unanswered};
use super::http2_pool::StreamPermit;
use super::pins::Release;
use super::replayable_body::ReplayableBody;
use super::response_body::{ResponseBody, Way};
use crate::http::RequestViolation;
use crate::http::parser::response::ResponseViolation;

pub(super) async fn multiplex(
    mut place: StreamPermit,
    request: Request<ReplayableBody>,
    fields_limit: usize,
) -> Result<Response<ResponseBody>, Unanswered> {
    let answer = place.ask(request).await?;
    if answer.headers().len() > fields_limit {
        return Err(Unanswered::Refused(
            ResponseViolation::Shape(RequestViolation::TooManyFields).detail(),
        ));
    }
    Ok(answer.map(|body| ResponseBody::new(body, Way::Shared { _place: place })))
}

pub(super) async fn exchange(
    mut connection: Box<Http1>,
    request: Request<ReplayableBody>,
    lent: &ReplayableBody,
    mut release: Release,
) -> Result<Response<ResponseBody>, Unanswered> {
    let is_upgrade = request.headers().contains_key(UPGRADE);
    let answer = connection.ask(request).await?;
    release.pins = release
        .pins
        .filter(|_| answer.version() == Version::HTTP_11);
    let way = match connection.state() {
        _ if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
            connection.leave().detach();
            Way::Complete
        }
        State::Over => Way::Complete,
        // A backend that answers before it has read the whole body may take the rest for the next request: such a connection
        // serves no other request. And a client may send everything before it reads anything, so the body cannot wait for the
        // answer's reader.
        _ if !lent.is_done() => Way::Apart {
            _task: connection.leave(),
        },
        // What a backend makes of a connection that it did not upgrade is not known.
        _ if is_upgrade && !connection.is_bound => Way::Apart {
            _task: connection.leave(),
        },
        State::Ready => {
            release.finish(connection);
            Way::Complete
        }
        State::Busy => Way::Held(connection, release),
    };
    Ok(answer.map(|body| ResponseBody::new(body, way)))
}
