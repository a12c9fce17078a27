//! Where log lines go: stderr, as text or JSON, one line each, with every control byte escaped.
//!
//! Logging never waits: lines gather in a bounded queue, and a thread of its own writes them. What does not fit, because
//! no process reads the pipe or the disk is full, is dropped and counted.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::IntCounter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, reload};

use super::queue::Queue;

/// How long the end of the process waits for its last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// The log's switches, which a reload may turn.
#[derive(Clone, Debug)]
pub(crate) struct LogControl {
    level: reload::Handle<LevelFilter, Registry>,
    json: Arc<AtomicBool>,
    queue: Arc<Queue>,
}

impl LogControl {
    /// Sends the process's log to stderr, text at `info` until configured otherwise; panics are logged too, by their place.
    ///
    /// `None` where the process has a log already.
    pub(crate) fn install() -> Option<Self> {
        let (filter, level) = reload::Layer::new(LevelFilter::INFO);
        let json = Arc::new(AtomicBool::new(false));
        let queue = Queue::start(io::stderr()).ok()?;
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .event_format(Lines {
                json: json.clone(),
                as_text: Format::default().with_ansi(false).with_target(false),
                as_json: Format::default()
                    .with_target(false)
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false),
            })
            .with_writer(Stderr(queue.clone()));
        let subscriber = Registry::default().with(filter).with(lines);
        tracing::subscriber::set_global_default(subscriber).ok()?;
        std::panic::set_hook(Box::new(tell_panic));
        Some(LogControl { level, json, queue })
    }

    /// Waits until the last lines are written, or given up.
    pub(super) fn flush(&self) {
        self.queue.flush(LAST_LINES);
    }

    /// Turns the switches: least severity, JSON or text.
    pub(super) fn turn(&self, level: Level, json: bool) {
        self.json.store(json, Ordering::Relaxed);
        // Fails only when the subscriber is gone, and then nothing is logged anyway.
        let _ = self.level.reload(LevelFilter::from_level(level));
    }

    /// Lines that stderr does not take are counted here from now on.
    pub(super) fn count_drops(&self, counter: IntCounter) {
        self.queue.count_drops(counter);
    }
}

/// Says where, not what: a message may quote what a client sent, and the default hook would wait for stderr.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location();
    let file = place.map_or("", |place| place.file());
    let line = place.map_or(0, |place| place.line());
    tracing::error!(file, line, "panic: a bug in crossfade");
}

/// Text or JSON, asked at each line.
struct Lines {
    json: Arc<AtomicBool>,
    as_text: Format,
    as_json: Format<Json>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.json.load(Ordering::Relaxed) {
            self.as_json.format_event(context, writer, event)
        } else {
            self.as_text.format_event(context, writer, event)
        }
    }
}

/// Takes finished lines for stderr.
struct Stderr(Arc<Queue>);

struct Line<'a>(&'a Queue);

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

impl Write for Line<'_> {
    /// Called once for each event, with its whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(&escape(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes control characters (C0 but the line's end, DEL, C1) as `\u00XX`, which is right inside JSON strings and plain to
/// read in text.
fn escape(line: &[u8]) -> Cow<'_, [u8]> {
    let (body, end) = match line.split_last() {
        Some((b'\n', body)) => (body, "\n"),
        _ => (line, ""),
    };
    if body.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    for c in String::from_utf8_lossy(body).chars() {
        if c.is_control() {
            out.push_str(&format!("\\u{:04x}", c as u32));
        } else {
            out.push(c);
        }
    }
    out.push_str(end);
    Cow::Owned(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn control_bytes_are_escaped_and_the_line_ends_once() {
        let hostile = "a\x1b[31mb\r\nc\x7fd\u{9b}e\0\n";
        let shown = String::from_utf8(escape(hostile.as_bytes()).into()).unwrap();
        assert_eq!(
            shown,
            "a\\u001b[31mb\\u000d\\u000ac\\u007fd\\u009be\\u0000\n"
        );
        assert_eq!(*escape(b"plain\n"), *b"plain\n");
    }

    #[test]
    fn an_escaped_json_line_says_the_same() {
        let line = b"{\"path\":\"/a\x7fb\"}\n";
        let value: serde_json::Value = serde_json::from_slice(&escape(line)).unwrap();
        assert_eq!(value["path"], "/a\x7fb");
    }
}
