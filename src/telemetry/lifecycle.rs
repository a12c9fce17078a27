//! Happenings of the process: start, reload, drain, end.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge};

use super::metric_names;
use super::metric_registry::{self, Book};

/// What the process counts of itself.
#[derive(Debug)]
pub(crate) struct LifeTelemetry {
    config_generation: IntGauge,
    reloads: IntCounterVec,
    reload_seconds: Histogram,
    panics: IntCounter,
    data_age: GaugeVec,
}

impl LifeTelemetry {
    pub(super) fn new(book: &mut Book) -> Self {
        LifeTelemetry {
            config_generation: metric_registry::gauge(book, &metric_names::CONFIG_GENERATION),
            reloads: metric_registry::counters(book, &metric_names::RELOADS),
            reload_seconds: metric_registry::histogram(book, &metric_names::RELOAD_SECONDS),
            panics: metric_registry::counter(book, &metric_names::PANICS),
            data_age: metric_registry::float_gauges(book, &metric_names::DATA_AGE),
        }
    }

    /// A configuration is in force.
    pub(crate) fn config_accepted(&self, generation: u64, trigger: &str, time: Duration) {
        self.config_generation.set(generation as i64);
        if trigger != "start" {
            self.reloads.with_label_values(&["ok"]).inc();
            self.reload_seconds.observe(time.as_secs_f64());
        }
        tracing::info!(
            generation,
            trigger,
            ms = time.as_millis() as u64,
            "configuration in force"
        );
    }

    /// A reload found the configuration as it was.
    pub(crate) fn config_unchanged(&self, trigger: &str, time: Duration) {
        self.reloads.with_label_values(&["unchanged"]).inc();
        self.reload_seconds.observe(time.as_secs_f64());
        tracing::info!(trigger, "configuration unchanged");
    }

    /// A reload was refused, and nothing changed; one line for each problem.
    pub(crate) fn config_invalid(&self, trigger: &str, problems: &[String], time: Duration) {
        self.reloads.with_label_values(&["invalid"]).inc();
        self.reload_seconds.observe(time.as_secs_f64());
        tracing::error!(
            trigger,
            problems = problems.len(),
            "configuration refused, the one in force stays"
        );
        for problem in problems {
            tracing::error!("{problem}");
        }
    }

    /// A reload was refused because it would need a restart.
    pub(crate) fn config_needs_restart(&self, trigger: &str, keys: &[String], time: Duration) {
        self.reloads.with_label_values(&["restart_required"]).inc();
        self.reload_seconds.observe(time.as_secs_f64());
        tracing::error!(
            trigger,
            keys = keys.join(", "),
            "configuration refused: these keys need a restart; nothing changed"
        );
    }

    /// `/metrics` has an address of its own.
    pub(crate) fn metrics_served(&self, address: SocketAddr) {
        tracing::info!(%address, "metrics are served");
    }

    /// Sessions were asked to leave over a window.
    pub(crate) fn drain_began(&self, why: &str, sessions: usize, window: Duration) {
        tracing::warn!(
            why,
            sessions,
            window_ms = window.as_millis() as u64,
            "drain: sessions leave"
        );
    }

    /// The process begins to leave.
    pub(crate) fn leaving(&self) {
        tracing::warn!("leaving: not ready any more");
    }

    /// What is left is closed, whatever it does.
    pub(crate) fn cut(&self, sessions: usize) {
        tracing::warn!(sessions, "closing what is left");
    }

    /// Everybody is gone.
    pub(crate) fn left(&self) {
        tracing::info!("everybody is gone");
    }

    /// A valid configuration that its author should look at again.
    pub(crate) fn warned(&self, warnings: &[impl Display]) {
        for warning in warnings {
            tracing::warn!("{warning}");
        }
    }

    /// There is no `state_dir`.
    pub(crate) fn nothing_is_kept(&self) {
        tracing::warn!(
            "no server.state_dir: what admins set lives in memory and is lost at a restart"
        );
    }

    /// There is neither `server.secret` nor `state_dir`.
    pub(crate) fn secret_is_random(&self) {
        tracing::warn!(
            "no server.secret and no server.state_dir: cookies are signed with a random secret and end with this process; \
             set server.secret, the same on all instances"
        );
    }

    /// An admin took a drain back.
    pub(crate) fn drain_cancelled(&self) {
        tracing::warn!("drain cancelled");
    }

    /// How old the polled data of each route is, in seconds; routes that are not named are not polled now.
    pub(crate) fn data_ages(&self, ages: &BTreeMap<Arc<str>, u64>) {
        self.data_age.reset();
        for (route, age) in ages {
            self.data_age.with_label_values(&[route]).set(*age as f64);
        }
    }

    /// A file of `state_dir` makes no sense; it was renamed, or could not be.
    pub(crate) fn state_corrupt(&self, path: &Path, why: &str, aside: Result<&Path, &io::Error>) {
        let path = path.display();
        match aside {
            Ok(aside) => tracing::error!(
                %path, why, kept = %aside.display(),
                "state file makes no sense: set aside, starting from the configuration"
            ),
            Err(error) => tracing::error!(
                %path, why, %error,
                "state file makes no sense and cannot be set aside: starting from the configuration, keeping nothing"
            ),
        }
    }

    /// The file of what was taken back makes no sense; it was renamed, or could not be.
    pub(crate) fn revocations_lost(
        &self,
        path: &Path,
        why: &str,
        aside: Result<&Path, &io::Error>,
    ) {
        let kept = aside.ok().map(|aside| aside.display().to_string());
        tracing::error!(
            path = %path.display(), why, kept,
            "what was revoked cannot be read: every token and login of before this start is revoked; take revoked API keys \
             out of the configuration"
        );
    }

    /// A file of `state_dir` could not be written; the old one is still there.
    pub(crate) fn state_not_kept(&self, path: &Path, error: &io::Error) {
        tracing::error!(path = %path.display(), %error, "state file not written: settings would not outlive a restart");
    }

    /// A task ended unasked: the service manager gets no more signs of life.
    pub(crate) fn watchdog_starves(&self) {
        tracing::error!(
            "a listener, the reload task or the rollouts' task has ended by a bug: the watchdog is no longer notified"
        );
    }

    /// A task ended by a bug of ours.
    pub(crate) fn panicked(&self, place: &str) {
        self.panics.inc();
        tracing::error!(place, "a task panicked");
    }
}
