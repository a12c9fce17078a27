//! Spans as a collector gets them.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;

use crate::harness::{Backend, JSON, Message, Proxy, Socket, eventually, handshake, reply};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Somebody who takes spans.
struct Collector {
    backend: Backend,
}

impl Collector {
    async fn start() -> Collector {
        let backend = Backend::start(|_, peer| reply(peer, "200 OK", "", "")).await;
        Collector { backend }
    }

    fn table(&self) -> String {
        format!(
            "[tracing]\nendpoint = \"http://{}\"\n",
            self.backend.address
        )
    }

    fn spans(&self) -> Vec<Span> {
        let seen = self.backend.seen();
        let requests = seen.iter().map(|request| {
            assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
            assert_eq!(
                request.field("content-type"),
                Some("application/x-protobuf")
            );
            ExportTraceServiceRequest::decode(&*request.body).unwrap()
        });
        let resources = requests.flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Waits for a span, and gives the first.
    async fn span(&self, what: &str, fits: impl Fn(&Span) -> bool) -> Span {
        eventually(what, async || self.spans().iter().any(&fits)).await;
        self.spans().into_iter().find(fits).unwrap()
    }
}

/// An event stream of one event, a list that changes with each poll, and `ok` for all else.
async fn app() -> Backend {
    let polls = Arc::new(Mutex::new(0));
    Backend::start(move |request, mut peer| {
        let polls = polls.clone();
        async move {
            if request.field("accept") == Some("text/event-stream") {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
                peer.try_send(format!("{head}data: 1\n\n")).await;
                peer.rest().await;
                return None;
            }
            if request.target() != "/list" {
                return reply(peer, "200 OK", "", "ok").await;
            }
            let count = {
                let mut polls = polls.lock().unwrap();
                *polls += 1;
                *polls
            };
            let json = "Content-Type: application/json\r\n";
            reply(peer, "200 OK", json, &format!("[{count}]")).await
        }
    })
    .await
}

const ROUTES: &str = "[[route]]\nname = \"list\"\npath = \"/list\"\nupstream = \"app\"\n\
    source = {kind = \"poll\", every = \"100ms\"}\n\
    [[route]]\nname = \"feed\"\npath = \"/feed\"\nupstream = \"app\"\nsource = \"sse\"\n\
    [[route]]\nname = \"rest\"\npath = \"/{*path}\"\nupstream = \"app\"\n";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fact<'s>(span: &'s Span, key: &str) -> Option<&'s Value> {
    let found = span.attributes.iter().find(|fact| fact.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn text(span: &Span, key: &str) -> String {
    match fact(span, key) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{key}: {other:?}"),
    }
}

/// Trace, span and flags of what went upstream.
fn carried(request: &Message) -> (String, String, String) {
    let parent = request.field("traceparent").expect("a traceparent");
    let parts: Vec<&str> = parent.split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"), "{parent}");
    (parts[1].into(), parts[2].into(), parts[3].into())
}

fn client_trace(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{PARENT}-{flags}\r\ntracestate: a=1,b=2\r\n")
}

#[tokio::test]
async fn a_clients_trace_goes_on_through_the_sidecar_to_the_backend() {
    let (collector, app) = (Collector::start().await, app().await);
    let rest = format!("{}{ROUTES}", collector.table());
    let proxy = Proxy::before(&app, "", &rest).await;
    let mut client = proxy.client().await;
    let answer = client
        .ask("GET /page?secret=1", &client_trace("01"), "")
        .await;
    assert_eq!(answer.status(), 200);

    let server = collector
        .span("the request", |span| span.kind == SpanKind::Server as i32)
        .await;
    let upstream = collector
        .span("the request upstream", |span| {
            span.kind == SpanKind::Client as i32
        })
        .await;
    assert_eq!(hex(&server.trace_id), TRACE);
    assert_eq!(hex(&server.parent_span_id), PARENT);
    assert_eq!(hex(&upstream.trace_id), TRACE);
    assert_eq!(upstream.parent_span_id, server.span_id);
    let (trace, span, flags) = carried(&app.only());
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "01"));
    assert_eq!(span, hex(&upstream.span_id));
    assert_eq!(app.only().field("tracestate"), Some("a=1,b=2"));

    assert_eq!(server.name, "GET rest");
    assert_eq!(text(&server, "url.path"), "/page");
    assert_eq!(text(&server, "http.route"), "rest");
    assert_eq!(
        fact(&server, "http.response.status_code"),
        Some(&Value::IntValue(200))
    );
    assert_eq!(text(&upstream, "crossfade.upstream"), "app");
    assert_eq!(text(&upstream, "crossfade.kind"), "passthrough");
    assert!(server.start_time_unix_nano <= upstream.start_time_unix_nano);
    assert!(upstream.end_time_unix_nano <= server.end_time_unix_nano);
}

#[tokio::test]
async fn only_a_trusted_peer_says_what_is_sampled() {
    let (collector, app) = (Collector::start().await, app().await);
    let table = format!("{}percent = 0\n{ROUTES}", collector.table());
    let trusting = Proxy::before(&app, "trusted_proxies = [\"127.0.0.1\"]", &table).await;
    let wary = Proxy::before(&app, "", &table).await;
    for (proxy, expected) in [(&trusting, "01"), (&wary, "00")] {
        let mut client = proxy.client().await;
        client.ask("GET /page", &client_trace("01"), "").await;
        let (trace, span, flags) = carried(app.seen().last().unwrap());
        assert_eq!((trace.as_str(), flags.as_str()), (TRACE, expected));
        assert_ne!(span, PARENT);
    }
    let server = |span: &Span| span.kind == SpanKind::Server as i32;
    collector.span("the sampled request", server).await;
    assert_eq!(
        collector.spans().iter().filter(|span| server(span)).count(),
        1
    );

    // What makes no sense begins a trace of its own, and says nothing of the sender's.
    for odd in [
        format!("traceparent: 00-{TRACE}-0000000000000000-01\r\ntracestate: a=1\r\n"),
        format!("traceparent: ff-{TRACE}-{PARENT}-01\r\n"),
        format!("traceparent: 00-{TRACE}-{PARENT}-01-more\r\n"),
        format!("traceparent: 00-{}-{PARENT}-01\r\n", TRACE.to_uppercase()),
        format!("{0}{0}", format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n")),
        "traceparent: 1\r\n".to_owned(),
    ] {
        trusting.client().await.ask("GET /page", &odd, "").await;
        let last = app.seen().pop().unwrap();
        let (trace, _, flags) = carried(&last);
        assert_ne!(trace, TRACE, "{odd}");
        assert_eq!(flags, "00", "{odd}");
        assert_eq!(last.field("tracestate"), None, "{odd}");
    }
}

#[tokio::test]
async fn a_poll_is_followed_to_the_frame_that_it_caused() {
    let (collector, app) = (Collector::start().await, app().await);
    let rest = format!("{}{ROUTES}", collector.table());
    let proxy = Proxy::before(&app, "", &rest).await;
    let public = &proxy.handle.public[0];
    let opened = Socket::open(public, "/list", &[JSON]).await;
    let mut socket = opened.unwrap_or_else(|answer| panic!("{}", answer.status()));
    socket.frame("ev").await;

    let deliver = collector
        .span("a delivery", |span| span.name == "deliver")
        .await;
    let poll = collector
        .span("its poll", |span| span.span_id == deliver.parent_span_id)
        .await;
    assert_eq!(poll.name, "poll");
    assert_eq!(poll.trace_id, deliver.trace_id);
    assert_eq!(text(&poll, "crossfade.route"), "list");
    assert_eq!(text(&deliver, "crossfade.protocol"), "json");
    let request = collector
        .span("its request", |span| {
            span.parent_span_id == poll.span_id && span.name == "GET"
        })
        .await;
    assert_eq!(text(&request, "crossfade.kind"), "poll");
    let asked = app.seen().into_iter().map(|seen| carried(&seen).1);
    let is_known = asked.into_iter().any(|span| span == hex(&request.span_id));
    assert!(is_known, "the backend knows the poll by its span");
    assert!(poll.start_time_unix_nano <= deliver.start_time_unix_nano);
    assert!(deliver.start_time_unix_nano <= deliver.end_time_unix_nano);
}

#[tokio::test]
async fn a_streams_events_are_followed_once_however_many_listen() {
    let (collector, app) = (Collector::start().await, app().await);
    let rest = format!(
        "{}{}",
        collector.table(),
        ROUTES.replace("\"sse\"", "\"sse\"\nshare = \"public\"")
    );
    let proxy = Proxy::before(&app, "", &rest).await;
    let public = &proxy.handle.public[0];
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let opened = Socket::open(public, "/feed?cf_after=zz-1", &[JSON]).await;
        sockets.push(opened.unwrap_or_else(|answer| panic!("{}", answer.status())));
    }
    let deliver = collector
        .span("a delivery", |span| span.name == "deliver")
        .await;
    let read = collector
        .span("its read", |span| span.span_id == deliver.parent_span_id)
        .await;
    assert_eq!(read.name, "read");
    let stream = read.links.first().expect("a link to the stream");
    let (trace, ..) = carried(&app.only());
    assert_eq!(hex(&stream.trace_id), trace);
    let named = |name: &str| {
        let spans = collector.spans();
        spans.iter().filter(|span| span.name == name).count()
    };
    assert_eq!((named("read"), named("deliver")), (1, 1));
}

#[tokio::test]
async fn tunnels_and_handshakes_carry_their_place_too() {
    let (collector, app) = (Collector::start().await, app().await);
    let rest = format!("{}{ROUTES}", collector.table());
    let proxy = Proxy::before(&app, "", &rest).await;
    let mut client = proxy.client().await;
    client.send(handshake("/socket", &client_trace("00"))).await;
    client.head().await;
    assert_eq!(carried(&app.only()).0, TRACE);
    let tunnel = |span: &Span| span.kind == SpanKind::Server as i32;
    let server = collector.span("the handshake", tunnel).await;
    assert_eq!(text(&server, "crossfade.action"), "tunnel");
}

#[tokio::test]
async fn without_a_collector_nothing_is_touched() {
    let app = app().await;
    let proxy = Proxy::before(&app, "", ROUTES).await;
    let mut client = proxy.client().await;
    client.ask("GET /page", &client_trace("01"), "").await;
    let seen = app.only();
    let sent = format!("00-{TRACE}-{PARENT}-01");
    assert_eq!(seen.field("traceparent"), Some(sent.as_str()));
    assert_eq!(seen.field("tracestate"), Some("a=1,b=2"));
    client.ask("GET /page", "", "").await;
    assert_eq!(app.seen()[1].field("traceparent"), None);
    assert!(!proxy.metrics().contains("crossfade_trace_spans_total{"));
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_no_request() {
    let app = app().await;
    // Takes connections, and never answers.
    let silent = Backend::by_hand(|mut peer, _| async move {
        peer.rest().await;
    })
    .await;
    let proxy = |endpoint: String| {
        let rest = format!("[tracing]\nendpoint = \"http://{endpoint}\"\n{ROUTES}");
        let app = &app;
        async move { Proxy::before(app, "", &rest).await }
    };
    let refused = proxy("127.0.0.1:9".to_owned()).await;
    let waiting = proxy(silent.address.to_string()).await;
    // Two spans each: more than the queue and a batch hold.
    for (proxy, requests) in [(&refused, 20), (&waiting, 1300)] {
        let mut client = proxy.client().await;
        for _ in 0..requests {
            assert_eq!(client.ask("GET /page", "", "").await.status(), 200);
        }
    }
    let metrics = waiting.metrics();
    let dropped = "crossfade_trace_spans_total{result=\"dropped\"}";
    assert!(metrics.contains(dropped), "{metrics}");
    let failed = "crossfade_trace_spans_total{result=\"failed\"}";
    eventually("lost spans", async || refused.metrics().contains(failed)).await;
}

#[tokio::test]
async fn spans_are_exported_and_counted() {
    let (collector, app) = (Collector::start().await, app().await);
    let rest = format!("{}{ROUTES}", collector.table());
    let proxy = Proxy::before(&app, "", &rest).await;
    proxy.client().await.ask("GET /page", "", "").await;
    let line = "crossfade_trace_spans_total{result=\"exported\"} 2";
    eventually("exported spans", async || proxy.metrics().contains(line)).await;
    assert_eq!(collector.spans().len(), 2);
}
