//! Spans: where the time of a sampled request, poll or event went. They wait in a bounded queue for the exporter
//! (`upstream::otlp_export`); what does not fit is dropped and counted. Without a collector nothing is made at all.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use hyper::header::HeaderMap;
use hyper::http::Extensions;
use hyper::{Method, StatusCode};
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use prometheus::{IntCounter, IntCounterVec};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::metric_names;
use super::metric_registry::{self, Book};
use super::trace_context::Trace;
use crate::error::Error;
use crate::event::Cause;
use crate::http::path::without_parameters;

/// Spans that may wait for the collector.
const QUEUE: usize = 2048;

/// How long the end of the process waits for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// Something that takes time; over when it is dropped. Does nothing where there is no collector, and only hands its place on
/// where it is not sampled.
#[derive(Debug, Default)]
pub(crate) struct Span {
    place: Option<Trace>,
    open: Option<Box<Open>>,
}

#[derive(Debug)]
struct Open {
    tracer: Arc<Tracer>,
    data: SpanData,
}

/// Where spans go while there is a collector.
#[derive(Debug)]
struct Tracer {
    queue: mpsc::Sender<SpanData>,
    /// Of what has no sampled parent, the share that is sampled: 0 to 1.
    share: f64,
    scope: InstrumentationScope,
    dropped: IntCounter,
}

/// The collector in use, and the task that feeds it.
#[derive(Debug)]
pub(crate) struct TraceTelemetry {
    tracer: ArcSwapOption<Tracer>,
    exporter: Mutex<Option<JoinHandle<()>>>,
    spans: IntCounterVec,
}

impl TraceTelemetry {
    pub(super) fn new(book: &mut Book) -> Self {
        TraceTelemetry {
            tracer: ArcSwapOption::empty(),
            exporter: Mutex::default(),
            spans: metric_registry::counters(book, &metric_names::TRACE_SPANS),
        }
    }

    /// Spans go into a queue from now on, this share of them (0 to 1) where no trusted parent decides; `export` is what
    /// empties it.
    pub(crate) fn trace_to<F>(&self, share: f64, export: impl FnOnce(mpsc::Receiver<SpanData>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (queue, spans) = mpsc::channel(QUEUE);
        let version = env!("CARGO_PKG_VERSION");
        let tracer = Tracer {
            queue,
            share,
            scope: InstrumentationScope::builder("crossfade")
                .with_version(version)
                .build(),
            dropped: self.spans.with_label_values(&["dropped"]),
        };
        // One that is replaced sends what it has, and ends.
        *self.exporter() = Some(tokio::spawn(export(spans)));
        self.tracer.store(Some(Arc::new(tracer)));
    }

    /// Nothing is traced any more; what waits is still sent.
    pub(crate) fn trace_nothing(&self) {
        self.tracer.store(None);
    }

    /// As [`TraceTelemetry::trace_nothing`], and waits for the last spans, not for ever.
    pub(crate) async fn stop_tracing(&self) {
        self.trace_nothing();
        let exporter = self.exporter().take();
        if let Some(exporter) = exporter {
            let _ = tokio::time::timeout(LAST_SPANS, exporter).await;
        }
    }

    /// So many spans reached the collector.
    pub(crate) fn spans_exported(&self, count: u64) {
        let exported = self.spans.with_label_values(&["exported"]);
        exported.inc_by(count);
    }

    /// So many spans are lost: the collector did not take them.
    pub(crate) fn spans_lost(&self, count: u64, why: &str, was_lost: bool) {
        self.spans.with_label_values(&["failed"]).inc_by(count);
        // Once for each outage.
        if !was_lost {
            tracing::warn!(
                why = super::shorten(why),
                "the collector takes no spans; they are counted and dropped until it does"
            );
        }
    }

    /// The collector takes spans again.
    pub(crate) fn spans_flow_again(&self) {
        tracing::info!("the collector takes spans again");
    }

    /// A client's request begins. A trace that it brings goes on; whether it is sampled is the client's to say only where it
    /// is trusted.
    pub(crate) fn trace_request(
        &self,
        method: &Method,
        headers: &HeaderMap,
        is_trusted: bool,
    ) -> Span {
        let Some(tracer) = self.tracer.load_full() else {
            return Span::default();
        };
        let parent = Trace::read(headers);
        let is_sampled = match &parent {
            Some(parent) if is_trusted => parent.0.is_sampled(),
            _ => tracer.draws(),
        };
        let mut span = Span::begin(tracer, SpanKind::Server, parent, is_sampled);
        span.name(known(method));
        span.set("http.request.method", known(method));
        span
    }

    /// Something begins that no client asked for by itself: a poll, a stream, a client's `req`.
    pub(crate) fn trace_own(&self, name: &'static str, route: &str) -> Span {
        let Some(tracer) = self.tracer.load_full() else {
            return Span::default();
        };
        let is_sampled = tracer.draws();
        let mut span = Span::begin(tracer, SpanKind::Internal, None, is_sampled);
        span.name(name);
        span.set_with("crossfade.route", || route.to_owned());
        span
    }

    /// A request goes upstream, from this place of a trace.
    pub(crate) fn trace_upstream(
        &self,
        parent: Option<Trace>,
        upstream: &str,
        purpose: &'static str,
        method: &Method,
    ) -> Span {
        let (Some(parent), Some(tracer)) = (parent, self.tracer.load_full()) else {
            return Span::default();
        };
        if !parent.0.is_sampled() {
            return Span {
                place: Some(parent),
                open: None,
            };
        }
        let mut span = Span::begin(tracer, SpanKind::Client, Some(parent), true);
        span.name(known(method));
        span.set("http.request.method", known(method));
        span.set_with("crossfade.upstream", || upstream.to_owned());
        span.set("crossfade.kind", purpose);
        span
    }

    /// What a sampled poll or read caused was written to a client's socket: read from the backend at `read`, written now.
    pub(crate) fn trace_delivery(
        &self,
        cause: &Cause,
        route: &str,
        protocol: &'static str,
        read: Instant,
    ) {
        let Some(tracer) = self.tracer.load_full() else {
            return;
        };
        let trace = TraceId::from(cause.trace);
        let parent = SpanContext::new(
            trace,
            SpanId::from(cause.span),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        );
        let mut span = Span::begin(tracer, SpanKind::Producer, Some(Trace(parent)), true);
        span.name("deliver");
        span.set_with("crossfade.route", || route.to_owned());
        span.set("crossfade.protocol", protocol);
        if let Some(open) = &mut span.open {
            open.data.start_time -= read.elapsed();
        }
    }

    fn exporter(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        let exporter = self.exporter.lock();
        exporter.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracer {
    fn draws(&self) -> bool {
        fastrand::f64() < self.share
    }
}

impl Span {
    fn begin(tracer: Arc<Tracer>, kind: SpanKind, parent: Option<Trace>, is_sampled: bool) -> Span {
        let parent = parent.map(|Trace(parent)| parent);
        let flags = match is_sampled {
            true => TraceFlags::SAMPLED,
            false => TraceFlags::default(),
        };
        // Neither may be zero.
        let context = SpanContext::new(
            parent
                .as_ref()
                .map_or_else(|| TraceId::from(fastrand::u128(1..)), SpanContext::trace_id),
            SpanId::from(fastrand::u64(1..)),
            flags,
            false,
            parent
                .as_ref()
                .map_or_else(TraceState::default, |parent| parent.trace_state().clone()),
        );
        let place = Some(Trace(context.clone()));
        if !is_sampled {
            return Span { place, open: None };
        }
        let now = SystemTime::now();
        let data = SpanData {
            span_context: context,
            parent_span_id: parent
                .as_ref()
                .map_or(SpanId::INVALID, SpanContext::span_id),
            parent_span_is_remote: parent.is_some_and(|parent| parent.is_remote()),
            span_kind: kind,
            name: Cow::Borrowed(""),
            start_time: now,
            end_time: now,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: tracer.scope.clone(),
        };
        let open = Some(Box::new(Open { tracer, data }));
        Span { place, open }
    }

    /// Names the place for the code that sends the request on.
    pub(crate) fn mark(&self, extensions: &mut Extensions) {
        if let Some(place) = &self.place {
            extensions.insert(place.clone());
        }
    }

    /// Takes over what [`Span::mark`] named.
    pub(crate) fn marked(extensions: &mut Extensions) -> Option<Trace> {
        extensions.remove()
    }

    /// Writes the place into a request that goes upstream, over whatever stood there.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        if let Some(place) = &self.place {
            place.write(headers);
        }
    }

    /// What events that come of this have as their cause; `None` where it is not sampled.
    pub(crate) fn cause(&self) -> Option<Arc<Cause>> {
        let context = &self.open.as_ref()?.data.span_context;
        let trace = u128::from_be_bytes(context.trace_id().to_bytes());
        let span = u64::from_be_bytes(context.span_id().to_bytes());
        Some(Arc::new(Cause::new(trace, span)))
    }

    /// Names another place that led here.
    pub(crate) fn link(&mut self, other: &Span) {
        if let (Some(open), Some(Trace(other))) = (&mut self.open, &other.place) {
            let link = Link::new(other.clone(), Vec::new(), 0);
            open.data.links.links.push(link);
        }
    }

    /// A fact about it, one of fixed words or a number.
    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.set_with(key, || value);
    }

    /// A fact about it that costs something to tell.
    pub(crate) fn set_with<V: Into<Value>>(
        &mut self,
        key: &'static str,
        value: impl FnOnce() -> V,
    ) {
        if let Some(open) = &mut self.open {
            open.data.attributes.push(KeyValue::new(key, value()));
        }
    }

    /// A client's request is over. The path is without its query.
    pub(crate) fn served(&mut self, path: &str, route: &str, action: &'static str, status: u16) {
        let Some(open) = &mut self.open else {
            return;
        };
        let name = format!("{} {route}", open.data.name);
        open.data.name = Cow::Owned(name);
        if status >= 500 {
            open.data.status = Status::error("");
        }
        let path = super::shorten(&without_parameters(path)).to_owned();
        self.set("url.path", path);
        self.set("http.route", route.to_owned());
        self.set("http.response.status_code", i64::from(status));
        self.set("crossfade.action", action);
    }

    /// A backend answered.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.set("http.response.status_code", i64::from(status.as_u16()));
        if let Some(open) = &mut self.open
            && (status.is_client_error() || status.is_server_error())
        {
            open.data.status = Status::error("");
        }
    }

    /// It broke.
    pub(crate) fn failed(&mut self, error: &Error) {
        self.set("error.type", error.kind.as_str());
        if let Some(open) = &mut self.open {
            open.data.status = Status::error(error.kind.as_str());
        }
    }

    fn name(&mut self, name: &'static str) {
        if let Some(open) = &mut self.open {
            open.data.name = Cow::Borrowed(name);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let Open { tracer, mut data } = *open;
        data.end_time = SystemTime::now();
        if tracer.queue.try_send(data).is_err() {
            tracer.dropped.inc();
        }
    }
}

/// A standard method's name: clients do not choose names of spans.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}
