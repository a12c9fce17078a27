//! Messages as RFC 9110 and RFC 9112 have them: for each story what a client sends, what the
//! backend answers, and what the client gets.

use crate::harness::{Backend, Message, Peer, Proxy};

/// One exchange.
struct Story {
    /// The section that says so, and what it says.
    says: &'static str,
    sent: &'static str,
    /// The backend's bytes; it closes the connection behind them where they have no length.
    answer: &'static str,
    /// The status line.
    line: &'static str,
    /// Fields that are there with these values.
    with: &'static [(&'static str, &'static str)],
    /// Fields that are not.
    without: &'static [&'static str],
    body: &'static str,
    trailers: &'static [(&'static str, &'static str)],
    /// Whether the client may go on over the same connection.
    goes_on: bool,
}

const STORIES: &[Story] = &[
    Story {
        says: "9112 9.3: a connection of HTTP/1.1 persists",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        line: "HTTP/1.1 200 OK",
        with: &[("content-length", "2")],
        without: &["connection", "transfer-encoding"],
        body: "ok",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9112 9.3: a connection of HTTP/1.0 does not persist unless that is asked for",
        sent: "GET /a HTTP/1.0\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        line: "HTTP/1.0 200 OK",
        with: &[("content-length", "2")],
        without: &["transfer-encoding"],
        body: "ok",
        trailers: &[],
        goes_on: false,
    },
    Story {
        says: "9112 C.2.2: HTTP/1.0 asks for it by keep-alive",
        sent: "GET /a HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        line: "HTTP/1.0 200 OK",
        with: &[("content-length", "2"), ("connection", "keep-alive")],
        without: &["transfer-encoding"],
        body: "ok",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9112 6.1: no transfer coding to HTTP/1.0; without a length the connection's end is the body's",
        sent: "GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        line: "HTTP/1.0 200 OK",
        with: &[],
        without: &["transfer-encoding", "content-length"],
        body: "ok",
        trailers: &[],
        goes_on: false,
    },
    Story {
        says: "9112 9.6: close is honoured, and said back",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        line: "HTTP/1.1 200 OK",
        with: &[("connection", "close")],
        without: &[],
        body: "ok",
        trailers: &[],
        goes_on: false,
    },
    Story {
        says: "9112 9.6: the backend's close is about its own connection",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        line: "HTTP/1.1 200 OK",
        with: &[],
        without: &["connection"],
        body: "ok",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9110 9.3.2: HEAD has the fields of GET and no body",
        sent: "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n",
        line: "HTTP/1.1 200 OK",
        with: &[("content-length", "1234"), ("etag", "\"x\"")],
        without: &[],
        body: "",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9112 6.3 (1): what a backend sends behind an answer to HEAD is no body of it",
        sent: "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray",
        line: "HTTP/1.1 200 OK",
        with: &[("content-length", "5")],
        without: &[],
        body: "",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9112 6.3 (1), 9110 8.6: 204 has neither body nor length",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nstray",
        line: "HTTP/1.1 204 No Content",
        with: &[],
        without: &["content-length", "transfer-encoding"],
        body: "",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9112 6.3 (1): 304 has no body, whatever length it tells",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\n\r\n",
        answer: "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 5\r\n\r\nstray",
        line: "HTTP/1.1 304 Not Modified",
        with: &[("etag", "\"x\"")],
        without: &["transfer-encoding"],
        body: "",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9112 6.3 (1): nor has one that is chunked",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nstray\r\n0\r\n\r\n",
        line: "HTTP/1.1 304 Not Modified",
        with: &[],
        without: &["transfer-encoding"],
        body: "",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9112 6.3 (8): without framing the backend's end is the body's; it gets ours",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\n\r\nok",
        line: "HTTP/1.1 200 OK",
        with: &[("transfer-encoding", "chunked")],
        without: &["content-length"],
        body: "ok",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9110 2.5: a backend of HTTP/1.0 is answered for in HTTP/1.1",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        line: "HTTP/1.1 200 OK",
        with: &[("content-length", "2")],
        without: &["connection"],
        body: "ok",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9110 15.2: interim answers come before the final one (and end here)",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                 HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        line: "HTTP/1.1 200 OK",
        with: &[("content-length", "2")],
        without: &["link"],
        body: "ok",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9110 10.1.1: no 100 for HTTP/1.0",
        sent: "POST /a HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        line: "HTTP/1.0 200 OK",
        with: &[],
        without: &[],
        body: "ok",
        trailers: &[],
        goes_on: false,
    },
    Story {
        says: "9110 10.1.1: no 100 where there is no body",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        line: "HTTP/1.1 200 OK",
        with: &[],
        without: &[],
        body: "ok",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9110 6.5, 10.1.4: trailers for who takes them, under the rules of fields",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nTrailer: X-Sum, Set-Cookie, Content-Type\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=1\r\nContent-Type: text/html\r\n\r\n",
        line: "HTTP/1.1 200 OK",
        with: &[("transfer-encoding", "chunked")],
        without: &["x-sum", "set-cookie"],
        body: "ok",
        trailers: &[("X-Sum", "1")],
        goes_on: true,
    },
    Story {
        says: "9110 6.5.1: none for who does not",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
        line: "HTTP/1.1 200 OK",
        with: &[("transfer-encoding", "chunked")],
        without: &["x-sum"],
        body: "ok",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9112 6.1: nor for HTTP/1.0, which has no place for them",
        sent: "GET /a HTTP/1.0\r\nHost: a\r\nTE: trailers\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
        line: "HTTP/1.0 200 OK",
        with: &[],
        without: &["x-sum", "transfer-encoding"],
        body: "ok",
        trailers: &[],
        goes_on: false,
    },
    Story {
        says: "9112 7.1.1: chunk extensions end with the hop",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"b\"\r\nok\r\n0;c\r\n\r\n",
        line: "HTTP/1.1 200 OK",
        with: &[("transfer-encoding", "chunked")],
        without: &[],
        body: "ok",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9110 7.6.1: fields of the backend's connection end here",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Gone\r\nKeep-Alive: timeout=5\r\nX-Gone: 1\r\n\
                 Upgrade: h2c\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nok",
        line: "HTTP/1.1 200 OK",
        with: &[("content-length", "2")],
        without: &[
            "connection",
            "keep-alive",
            "x-gone",
            "upgrade",
            "proxy-authenticate",
        ],
        body: "ok",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9110 15: a status is known by its first digit",
        sent: "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 299 Strange\r\nContent-Length: 2\r\n\r\nok",
        line: "HTTP/1.1 299 Strange",
        with: &[],
        without: &[],
        body: "ok",
        trailers: &[],
        goes_on: true,
    },
    Story {
        says: "9110 9.3.8: OPTIONS for a resource is the backend's to answer",
        sent: "OPTIONS /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n",
        line: "HTTP/1.1 200 OK",
        with: &[("allow", "GET"), ("content-length", "0")],
        without: &[],
        body: "",
        trailers: &[],
        goes_on: true,
    },
];

/// A backend that gives this answer to `/a`, and `on` to everything else.
async fn saying(answer: &'static str) -> Backend {
    Backend::start(move |request, mut peer: Peer| async move {
        if request.target() != "/a" {
            let on = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\non";
            return peer.try_send(on).await.then_some(peer);
        }
        peer.send(answer).await;
        let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
        let has_end = head.contains("content-length") || head.contains("chunked");
        let ends_by_itself = has_end || answer.starts_with("HTTP/1.1 1");
        ends_by_itself.then_some(peer)
    })
    .await
}

async fn got(client: &mut Peer, sent: &str) -> Message {
    client.send(sent).await;
    match sent.starts_with("HEAD") {
        true => client.head().await,
        false => client.response().await,
    }
}

#[tokio::test]
async fn messages_are_as_the_rfcs_say() {
    for story in STORIES {
        let says = story.says;
        let backend = saying(story.answer).await;
        let proxy = Proxy::passthrough(&backend).await;
        let mut client = proxy.client().await;
        let message = got(&mut client, story.sent).await;
        assert_eq!(message.line, story.line, "{says}");
        assert_eq!(message.text(), story.body, "{says}");
        for (name, value) in story.with {
            assert_eq!(message.field(name), Some(*value), "{says}: {name}");
        }
        for name in story.without {
            assert_eq!(message.field(name), None, "{says}: {name}");
        }
        let trailers: Vec<(&str, &str)> = message
            .trailers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(trailers, story.trailers, "{says}");
        if story.goes_on {
            let next = got(&mut client, "GET /b HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!((next.status(), next.text()), (200, "on".into()), "{says}");
        } else {
            assert_eq!(client.rest().await, b"", "{says}");
        }
    }
}

/// RFC 9110, section 10.1.1: a final answer instead of 100, and the body is never asked for.
#[tokio::test]
async fn an_answer_of_our_own_spares_the_body() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let head = "POST /_crossfade/transport HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                Content-Length: 5\r\n\r\n";
    client.send(head).await;
    assert_eq!(client.response().await.status(), 405);
    assert!(backend.seen().is_empty());
}

/// RFC 9112, section 9.6: who is still sending when the answer is over reads it nevertheless.
#[tokio::test]
async fn early_answer_is_read_by_a_client_that_still_sends() {
    let backend = Backend::by_hand(|mut peer, seen| async move {
        let head = peer.head().await;
        seen.lock().unwrap().push(head);
        let no = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
        peer.send(no).await;
        peer.rest().await;
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    client
        .send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        .await;
    for _ in 0..20 {
        if !client.try_send([b'x'; 1000]).await {
            break;
        }
    }
    let answer = client.response().await;
    assert_eq!((answer.status(), answer.text()), (413, "no".into()));
    backend.has_open(0).await;
}
