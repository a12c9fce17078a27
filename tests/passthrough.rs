//! What passes through, passes as it is: both ways, at once, to the end.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::support::backend::reply;
use crate::support::sidecar::EVERYTHING;
use crate::support::{Backend, Peer, Sidecar, within};

#[tokio::test]
async fn a_request_and_its_answer_pass_with_their_fields_and_bodies() {
    let backend = Backend::start(|request, peer| async move {
        let body = request.text().to_uppercase();
        reply(
            peer,
            "201 Created",
            "X-One: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n",
            &body,
        )
        .await
    })
    .await;
    let sidecar = Sidecar::passthrough(&backend).await;
    let mut client = sidecar.client().await;
    let answer = client.ask("POST /a/b?c=%41&d", "X-Two: 2\r\n", "abc").await;
    assert_eq!((answer.status(), answer.text()), (201, "ABC".into()));
    assert_eq!(answer.field("x-one"), Some("1"));
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    let seen = backend.only();
    assert_eq!(seen.line, "POST /a/b?c=%41&d HTTP/1.1");
    assert_eq!(seen.field("x-two"), Some("2"));
    assert_eq!(seen.field("content-length"), Some("3"));
    assert_eq!(seen.field("host"), Some("a.example"));
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-host"), Some("a.example"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.field("x-request-id"), answer.field("x-request-id"));
    assert!(answer.field("x-request-id").is_some());
}
