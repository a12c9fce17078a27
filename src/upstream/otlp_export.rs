//! Sends spans to an OpenTelemetry collector: OTLP over HTTP, in protobuf.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{Request, Response, Uri};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::pool::Pool;
use super::pool::connect::Settings;
use super::pool::replayable_body::ReplayableBody;
use super::{Upstreams, address};
use crate::config::{self, Authority, Tracing};
use crate::http::body::full;
use crate::telemetry::Telemetry;

/// Spans in one request.
const BATCH: usize = 512;

/// How long a span waits for others.
const LINGER: Duration = Duration::from_secs(1);

/// How long the collector may take in all, repetitions included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest answer of a collector that is read.
const ANSWER: usize = 64 * 1024;

impl Upstreams {
    /// Puts `[tracing]` in force: spans are made and sent from now on, or no more. Call it inside of a runtime, and only
    /// where something changed.
    pub(crate) fn trace(&self, tracing: &Tracing, telemetry: &Arc<Telemetry>) {
        let exporter = (tracing.endpoint.as_ref()).and_then(|to| self.exporter(to, telemetry));
        let Some(exporter) = exporter else {
            return telemetry.traces.trace_nothing();
        };
        let share = f64::from(tracing.percent) / 100_000.0;
        let witness = telemetry.clone();
        telemetry
            .traces
            .trace_to(share, |spans| export(spans, exporter, witness));
    }

    fn exporter(
        &self,
        collector: &config::Collector,
        telemetry: &Arc<Telemetry>,
    ) -> Option<SpanExporter> {
        let settings = Settings::outside("tracing.endpoint", 1);
        let client = Client {
            pool: Pool::new(&settings, self.resolver.clone(), telemetry.clone()),
            server: collector.server.clone(),
        };
        let built = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}{}", collector.server.url(), collector.path))
            .with_timeout(PATIENCE)
            .build();
        let mut exporter = built
            .inspect_err(|error| telemetry.traces.spans_lost(0, &error.to_string(), false))
            .ok()?;
        let resource = Resource::builder()
            .with_service_name("crossfade")
            .with_attribute(opentelemetry::KeyValue::new(
                "service.version",
                env!("CARGO_PKG_VERSION"),
            ));
        exporter.set_resource(&resource.build());
        Some(exporter)
    }
}

/// Takes spans and sends them, until no producer is left.
async fn export(
    mut spans: mpsc::Receiver<SpanData>,
    exporter: SpanExporter,
    telemetry: Arc<Telemetry>,
) {
    let mut batch = Vec::new();
    let mut was_lost = false;
    while spans.recv_many(&mut batch, BATCH).await > 0 {
        let end = Instant::now() + LINGER;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            match timeout_at(end, spans.recv_many(&mut batch, room)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        let count = batch.len() as u64;
        match exporter.export(std::mem::take(&mut batch)).await {
            Ok(()) => {
                telemetry.traces.spans_exported(count);
                if std::mem::take(&mut was_lost) {
                    telemetry.traces.spans_flow_again();
                }
            }
            Err(error) => {
                telemetry
                    .traces
                    .spans_lost(count, &error.to_string(), was_lost);
                was_lost = true;
            }
        }
    }
}

/// The exporter's way to the collector, over connections like those to backends.
struct Client {
    pool: Pool,
    server: Authority,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = path.parse::<Uri>()?;
        let lent = ReplayableBody::new(full(body));
        let request = address(&head, &self.server, lent.clone())?;
        let asking = async {
            let answer = self
                .pool
                .request(&self.server, request, &lent, None)
                .await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        timeout(PATIENCE, asking).await?
    }
}
