//! Triggers → load → apply. One task owns the configuration, so that no two reloads overlap.
//!
//! A reload reads the file, reports all problems, refuses restart-only keys by name, builds everything new without any effect, and
//! swaps once. Until the swap, nothing has changed; after it, hub and sessions reconcile by themselves.

mod file;
mod file_watch;
mod history;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use std::{fs, io};

use tokio::sync::mpsc;

use crate::admin::{Applied, Ask, Declined, Routes, Scrape, Snapshot, Trigger};
use crate::config::{Config, Problem, Route, Severity};
use crate::hub::HubLimits;
use crate::rollout::controller::Controller;
use crate::rollout::plan;
use crate::router::{InForce, RouteTable};
use crate::session::Services;
use crate::storage::{rfc3339, unix_seconds};
pub(crate) use file::{Read, read, read_noting};
use file::{judge, replace, sockets, whole_file};
use file_watch::print;
pub(crate) use file_watch::{FileStamps, Watch};
pub(crate) use history::AcceptedConfigs;

/// The owner of the configuration in force.
pub(crate) struct Reloader {
    /// The file.
    pub(crate) path: PathBuf,
    /// What was accepted last.
    pub(crate) current: Read,
    /// When, Unix seconds.
    pub(crate) accepted_at: u64,
    /// What was accepted before.
    pub(crate) history: AcceptedConfigs,
    /// Looks at the files.
    pub(crate) watch: Watch,
    /// The metrics' own address, where there is one.
    pub(crate) scrape: Option<Scrape>,
    /// Where the new one goes.
    pub(crate) shared: Arc<Services>,
    /// Follows the rollouts' keys.
    pub(crate) controller: Controller,
}

impl Reloader {
    /// Serves orders, signals and what the watch sees, until the last sender of orders is gone.
    pub(crate) async fn run(
        mut self,
        mut asks: mpsc::Receiver<Ask>,
        mut hangups: mpsc::Receiver<()>,
    ) {
        loop {
            tokio::select! {
                ask = asks.recv() => match ask {
                    Some(ask) => self.serve(ask).await,
                    None => return,
                },
                Some(()) = hangups.recv() => {
                    // Reported by log and metrics; a signal gets no reply.
                    let _ = self.reload(None, Trigger::Signal).await;
                }
                () = self.watch.changed() => {
                    let _ = self.reload(None, Trigger::File).await;
                }
            }
        }
    }

    /// A caller that is gone does not get its answer; what it asked for is done all the same.
    async fn serve(&mut self, ask: Ask) {
        match ask {
            Ask::Show(reply) => drop(reply.send(self.show())),
            Ask::History(reply) => drop(reply.send(self.history.entries())),
            Ask::Reload(seen, reply) => drop(reply.send(self.reload(seen, Trigger::Api).await)),
            Ask::Replace(seen, text, reply) => {
                let outcome = self.write(seen, text, Trigger::Api).await;
                drop(reply.send(outcome));
            }
            Ask::Undo(seen, reply) => {
                let outcome = match self.history.text_before() {
                    Some(text) => self.write(seen, text, Trigger::Undo).await,
                    None => Err(Declined::NothingToUndo),
                };
                drop(reply.send(outcome));
            }
        }
    }

    fn show(&self) -> Snapshot {
        Snapshot {
            generation: self.history.generation(),
            file: self.path.display().to_string(),
            loaded_at: rfc3339(self.accepted_at),
            toml: self.current.loaded.text.clone(),
            values: self.current.loaded.values.clone(),
        }
    }

    async fn reload(
        &mut self,
        seen: Option<Vec<u64>>,
        trigger: Trigger,
    ) -> Result<Applied, Declined> {
        let since = Instant::now();
        self.check_seen(seen)?;
        let mut prints = FileStamps::new();
        let outcome = read_noting(&self.path, &mut prints);
        match outcome.is_ok() {
            true => self.watch.follow(prints),
            false => self.watch.follow_too(prints),
        }
        self.decide(outcome, trigger, since, |_| Ok(())).await
    }

    /// Judges a text first, and only then lets it replace the file.
    async fn write(
        &mut self,
        seen: Option<Vec<u64>>,
        text: String,
        trigger: Trigger,
    ) -> Result<Applied, Declined> {
        let since = Instant::now();
        self.check_seen(seen)?;
        let mut prints = FileStamps::new();
        let outcome = judge(&self.path, text, &mut prints);
        let outcome = match trigger {
            Trigger::Api => outcome.and_then(|read| self.without_new_sockets(read)),
            _ => outcome,
        };
        let path = self.path.clone();
        let applied = self
            .decide(outcome, trigger, since, |text| replace(&path, text))
            .await?;
        // The watch does not report our own write, but a later one by another program.
        let written = print(&self.path);
        if fs::read_to_string(&self.path).is_ok_and(|now| now == self.current.text) {
            prints.insert(self.path.clone(), written);
            self.watch.follow(prints);
        }
        Ok(applied)
    }

    /// Keeps users of the admin API from reaching this machine's sockets: those are added in the file.
    fn without_new_sockets(&self, read: Read) -> Result<Read, Vec<Problem>> {
        let known = sockets(&self.current.loaded.config);
        let added = sockets(&read.loaded.config).into_iter();
        let added: Vec<Problem> = added
            .filter(|(_, server)| {
                known
                    .iter()
                    .all(|(_, known)| known.address != server.address)
            })
            .map(|(upstream, server)| {
                let before = read.text.find(&server.address);
                let before = before
                    .and_then(|at| read.text.get(..at))
                    .unwrap_or_default();
                let line = before.rsplit('\n').next().unwrap_or_default();
                Problem {
                    line: before.matches('\n').count() + 1,
                    column: line.chars().count() + 1,
                    key: format!("upstream.{upstream}.servers"),
                    ..whole_file(
                        &self.path,
                        "names a socket that the admin API may not add",
                        "add it to the file on this machine",
                    )
                }
            })
            .collect();
        match added.is_empty() {
            true => Ok(read),
            false => Err(added),
        }
    }

    fn check_seen(&self, seen: Option<Vec<u64>>) -> Result<(), Declined> {
        let generation = self.history.generation();
        match seen.is_none_or(|seen| seen.contains(&generation)) {
            true => Ok(()),
            false => Err(Declined::Stale(generation)),
        }
    }

    /// Puts a valid file in force, and reports the outcome by log, metrics and systemd.
    async fn decide(
        &mut self,
        outcome: Result<Read, Vec<Problem>>,
        trigger: Trigger,
        since: Instant,
        before: impl FnOnce(&str) -> io::Result<()>,
    ) -> Result<Applied, Declined> {
        announce_reloading();
        let outcome = outcome.and_then(|read| Ok((self.scrape_at(&read)?, read)));
        let telemetry = self.shared.telemetry.clone();
        let word = trigger.as_str();
        let outcome = match outcome {
            Ok((scrape, read)) => {
                let accepted = self.accept(read, trigger, before).await;
                if let (Ok(_), Some(scrape)) = (&accepted, scrape) {
                    self.scrape = scrape;
                }
                accepted
            }
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
                telemetry.life.config_invalid(word, &lines, since.elapsed());
                Err(Declined::Invalid(problems))
            }
        };
        match &outcome {
            Ok(Applied {
                changed: true,
                generation,
                ..
            }) => {
                telemetry
                    .life
                    .config_accepted(*generation, word, since.elapsed());
            }
            Ok(_) => telemetry.life.config_unchanged(word, since.elapsed()),
            Err(Declined::RestartRequired(keys)) => {
                telemetry
                    .life
                    .config_needs_restart(word, keys, since.elapsed());
            }
            Err(_) => {}
        }
        announce_ready();
        outcome
    }

    /// Serves the metrics at their new address already, where it changes: an address that is taken is a problem of the file.
    /// `None` where it stays.
    fn scrape_at(&self, read: &Read) -> Result<Option<Option<Scrape>>, Vec<Problem>> {
        let (old, new) = (&self.current.loaded.config, &read.loaded.config);
        if old.metrics == new.metrics {
            return Ok(None);
        }
        let opened = new.metrics.listen.map(|address| {
            Scrape::open(address, &self.shared).map_err(|error| Problem {
                severity: Severity::Error,
                file: self.path.display().to_string(),
                line: 1,
                column: 1,
                key: "metrics.listen".to_owned(),
                message: format!("{address}: {error}"),
                hint: "choose another address, or stop the process that uses it".to_owned(),
            })
        });
        opened
            .transpose()
            .map(Some)
            .map_err(|problem| vec![problem])
    }

    async fn accept(
        &mut self,
        mut read: Read,
        trigger: Trigger,
        before: impl FnOnce(&str) -> io::Result<()>,
    ) -> Result<Applied, Declined> {
        let old = self.shared.in_force.load_full();
        let keys = old.config.restart_keys_changed(&read.loaded.config);
        if !keys.is_empty() {
            return Err(Declined::RestartRequired(keys));
        }
        if read.text == self.current.text && read.loaded.config == *old.config {
            return Ok(Applied {
                generation: old.generation,
                ..Applied::default()
            });
        }
        if let (Some(new), Some(old)) = (&mut read.loaded.config.server.tls, &old.config.server.tls)
        {
            new.keep_engine(old);
        }
        let routes = compare(&old.config, &read.loaded.config);
        let closed = self.count_closed(&routes.removed).await;
        before(&read.text).map_err(|error| Declined::ReadOnly(error.to_string()))?;
        let now = unix_seconds(SystemTime::now());
        let generation = self.history.generation() + 1;
        self.put_in_force(generation, &read.loaded.config);
        self.history
            .accept(now, trigger, &read.loaded.sha256, &read.text);
        self.accepted_at = now;
        self.current = read;
        // In force already; what follows only makes it outlive the process.
        self.controller.save().await;
        self.save().await;
        Ok(Applied {
            generation,
            changed: true,
            routes,
            closed,
        })
    }

    /// Lets what was accepted outlive the process.
    pub(crate) async fn save(&self) {
        if let Err(error) = self.history.save().await {
            let path = self.history.path().unwrap_or(Path::new("")).to_owned();
            self.shared.telemetry.life.state_not_kept(&path, &error);
        }
    }

    fn put_in_force(&self, generation: u64, config: &Config) {
        let shared = &self.shared;
        let config = Arc::new(config.clone());
        let in_force = Arc::new(InForce {
            generation,
            routes: RouteTable::new(&config.routes),
            config: config.clone(),
        });
        shared.authenticator.adopt(&config);
        shared.limiters.adopt(&config.rate_limits);
        // A new rollout's stage has to be there before the first request asks for it.
        self.controller.adopt(&plan::plans(&config));
        let before = shared.in_force.swap(in_force);
        if before.config.tracing != config.tracing {
            shared.upstreams.trace(&config.tracing, &shared.telemetry);
        }
        let log = &config.log;
        shared.telemetry.set_log(log.level, log.json, log.access);
        shared.hub.reconcile(&config.routes);
        let limits = HubLimits::of(&config.server.limits);
        shared.hub.set_limits(limits);
        shared.upstreams.adopt(&config);
        shared.sessions.recheck();
    }

    /// Sessions that live by removed routes only.
    async fn count_closed(&self, removed: &[String]) -> usize {
        if removed.is_empty() {
            return 0;
        }
        let is_gone = |route: &str| removed.iter().any(|name| name == route);
        let sessions = self.shared.sessions.list().await;
        let closed = sessions.iter().filter(|session| {
            let mut left = session.subscriptions.iter().map(|s| &*s.route);
            !session.subscriptions.is_empty() && left.all(is_gone)
        });
        closed.count()
    }
}

/// What happened to the routes, by name.
fn compare(old: &Config, new: &Config) -> Routes {
    // A route that only moved within the file is the same route, and of a rollout only the name is its own.
    type Known = (Route, Option<Arc<str>>);
    let by_name = |config: &Config| -> BTreeMap<String, Known> {
        let routes = config.routes.iter().map(|route| {
            let mut route = Route::clone(route);
            route.index = 0;
            let rollout = route.rollout.take().map(|rollout| rollout.name.clone());
            (route.name.to_string(), (route, rollout))
        });
        routes.collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let missing = |from: &BTreeMap<String, Known>, in_: &BTreeMap<String, Known>| {
        from.keys()
            .filter(|name| !in_.contains_key(*name))
            .cloned()
            .collect::<Vec<_>>()
    };
    let changed = new
        .iter()
        .filter(|(name, route)| old.get(*name).is_some_and(|before| before != *route));
    Routes {
        added: missing(&new, &old),
        removed: missing(&old, &new),
        changed: changed.map(|(name, _)| name.clone()).collect(),
    }
}

/// systemd wants the time of the announcement beside it (`Type=notify-reload`). Without effect elsewhere.
fn announce_reloading() {
    use sd_notify::NotifyState;
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        let _ = sd_notify::notify(&[NotifyState::Reloading, now]);
    }
}

/// Also after a failure: the service itself serves on, and log, metrics and answer say what went wrong.
fn announce_ready() {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}
