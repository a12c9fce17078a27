//! W3C Trace Context: `traceparent` and `tracestate`, read from a request and written into one.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest `tracestate` that is carried on (W3C Trace Context, section 3.3.1.5, asks for 512 at least).
const STATE: usize = 512;

/// A place in a trace: what goes upstream, and what a later span hangs on.
#[derive(Clone, Debug)]
pub(crate) struct Trace(pub(super) SpanContext);

impl Trace {
    /// The place that a request names, where it names one in order (W3C Trace Context, sections 3.2 and 3.3).
    pub(super) fn read(headers: &HeaderMap) -> Option<Trace> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (parent, None) = (values.next()?.to_str().ok()?, values.next()) else {
            return None;
        };
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = parent.split('-');
        let mut part = |length: usize| {
            parts
                .next()
                .filter(|part| part.len() == length && is_hex(part))
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // Later versions may say more behind it.
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let context = SpanContext::new(
            TraceId::from_hex(trace).ok()?,
            SpanId::from_hex(span).ok()?,
            TraceFlags::new(flags & TraceFlags::SAMPLED.to_u8()),
            true,
            state(headers),
        );
        context.is_valid().then_some(Trace(context))
    }

    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let Trace(context) = self;
        let (trace, span) = (context.trace_id(), context.span_id());
        let flags = context.trace_flags().to_u8();
        if let Ok(value) = HeaderValue::try_from(format!("00-{trace}-{span}-{flags:02x}")) {
            headers.insert(TRACEPARENT, value);
        }
        headers.remove(TRACESTATE);
        let state = context.trace_state().header();
        if let Ok(value) = HeaderValue::try_from(state)
            && !value.is_empty()
        {
            headers.insert(TRACESTATE, value);
        }
    }
}

/// What other systems say about a trace; nothing where it is not in order.
fn state(headers: &HeaderMap) -> TraceState {
    let values = headers.get_all(TRACESTATE).iter();
    let texts: Option<Vec<&str>> = values.map(|value| value.to_str().ok()).collect();
    let text = texts.unwrap_or_default().join(",");
    match text.len() <= STATE {
        true => text.parse().unwrap_or_default(),
        false => TraceState::default(),
    }
}
