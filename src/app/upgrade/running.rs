//! Another process takes this one's place.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::admin::{NotUpgraded, Upgrade};
use crate::app::parent::Parent;
use crate::app::process::Handle;
use crate::app::shutdown::LAME_DUCK;
use crate::app::upgrade::executable::Image;
use crate::app::upgrade::outgoing::{self, ParentState, Released, Successor};
use crate::memory::ControlGroups;

/// How long callers of the admin API get to take their last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Over how long sessions leave where another upgrade waits for them.
const HURRY: Duration = Duration::from_millis(500);

/// What a process takes that serves no client yet, bytes.
const OWN: u64 = 32 << 20;

impl Handle {
    /// Remembers the process that this one has replaced.
    pub(crate) fn follow(&mut self, leaver: Parent) {
        self.leaver = Some(leaver);
    }

    /// The next order to upgrade; pending for ever where `Built::open` was called without upgrades.
    pub(crate) async fn upgrade_asked(&mut self) -> Upgrade {
        match self.upgrades.recv().await {
            Some(upgrade) => upgrade,
            None => std::future::pending().await,
        }
    }

    /// Starts a new process and hands everything over to it. Where that fails, or this is dropped half-way, nothing has
    /// changed. The caller that ordered it gets an answer.
    pub(crate) async fn upgrade(&self, image: &Image, upgrade: Upgrade) -> Option<Successor> {
        let Upgrade { binary, reply } = upgrade;
        let telemetry = &self.shared.telemetry;
        telemetry.upgrades.upgrade_began(binary.as_deref());
        let outcome = match self.may_upgrade().await {
            Err(why) => Err(NotUpgraded::Refused(why)),
            Ok(()) => {
                let estate = ParentState {
                    shared: &self.shared,
                    controller: &self.api.controller,
                    given: &self.given,
                };
                outgoing::hand_over(image, binary.as_deref(), &estate).await
            }
        };
        let (answer, successor) = match outcome {
            Ok(successor) => {
                let upgraded = successor.upgraded.clone();
                telemetry
                    .upgrades
                    .upgrade_done(upgraded.pid, &upgraded.version, upgraded.topics);
                (Ok(upgraded), Some(successor))
            }
            Err(why) => {
                telemetry.upgrades.upgrade_failed(&why.to_string());
                (Err(why), None)
            }
        };
        if let Some(reply) = reply {
            // The caller may be gone.
            let _ = reply.send(answer);
        }
        successor
    }

    /// Whether another process can take over now; waits for the one before this to let go.
    async fn may_upgrade(&self) -> Result<(), String> {
        if self.shared.draining.load(Ordering::SeqCst) {
            let why =
                "a drain is under way: cancel it, or let the process leave and start the new one";
            return Err(why.to_owned());
        }
        if std::process::id() == 1 {
            let why = "this is process 1, and its container ends with it: start a new container, then drain this one";
            return Err(why.to_owned());
        }
        let topics = self.shared.hub.topics();
        let windows = topics.iter().map(|topic| topic.bytes as u64).sum();
        check_memory(windows, ControlGroups::find().room())?;
        // A topic has one reader at a time: what the process before still reads cannot be passed on.
        let Some(leaver) = &self.leaver else {
            return Ok(());
        };
        let patience = self.drain_timeout() + LAST_ANSWERS;
        let gone = timeout(patience, leaver.hurry_out()).await;
        gone.map_err(|_| {
            "the process before this one does not let go of its topics: end it first".to_owned()
        })
    }

    /// Leaves, since another process serves: nothing more is accepted, exchanges under way are finished, sessions leave over a
    /// window. All within `drain_timeout`; where that is given up half-way, [`Handle::stop`] ends it.
    pub(crate) async fn give_way(&mut self, mut successor: Successor) {
        let in_all = self.drain_timeout();
        let end = Instant::now() + in_all;
        // They are the other's now.
        self.sockets.clear();
        for duty in &self.duties {
            duty.abort();
        }
        self.api.leaving.store(true, Ordering::SeqCst);
        self.close_doors();
        self.admin_door.stop.send_replace(true);
        let sessions = self.shared.sessions.clone();
        let telling = async {
            // Topics are released while sessions leave; the rest of the time is for a stream that cannot be resumed.
            let released = async {
                while let Released::Hurried = successor.release().await {
                    sessions.drain(HURRY, "deploy");
                }
            };
            let _ = timeout_at(end, released).await;
        };
        // A client that uses its connection within this time is asked to open another one, instead of finding it closed.
        let emptying = self.empty(end, LAME_DUCK.min(in_all / 5));
        tokio::join!(emptying, telling);
        let _ = timeout(LAST_ANSWERS, &mut self.admin_door.task).await;
        self.shared.telemetry.life.left();
    }
}

/// Whether memory suffices for a second process until this one has left: both hold the replay windows. A process that
/// the kernel ends for its memory would take this one along.
fn check_memory(windows: u64, room: Option<u64>) -> Result<(), String> {
    let needed = OWN + windows;
    match room {
        Some(room) if room < needed => Err(format!(
            "a new process needs about {} MiB until this one has left, and {} MiB are left: raise the memory limit, or restart instead",
            needed.div_ceil(1 << 20),
            room >> 20
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_without_room_for_two_is_refused() {
        assert!(check_memory(0, None).is_ok());
        assert!(check_memory(10, Some(OWN + 10)).is_ok());
        let why = check_memory(64 << 20, Some(OWN)).unwrap_err();
        assert!(why.contains("needs about 96 MiB"), "{why}");
    }
}
