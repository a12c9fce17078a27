//! systemd's watchdog: notified while every task that it depends on runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::Admin;

/// The shortest time between two signs of life.
const LEAST: Duration = Duration::from_millis(10);

/// Gives signs of life where the service manager asks for them (`WatchdogSec=`), as long as `parts` all run. Where this
/// returns `None`, the unit asked for no watchdog.
pub(super) fn spawn(parts: Vec<AbortHandle>, api: Arc<Admin>) -> Option<AbortHandle> {
    let patience = sd_notify::watchdog_enabled()?;
    let task = tokio::spawn(watch(parts, api, (patience / 2).max(LEAST)));
    Some(task.abort_handle())
}

async fn watch(parts: Vec<AbortHandle>, api: Arc<Admin>, pace: Duration) {
    let mut beat = interval(pace);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_whole = true;
    loop {
        beat.tick().await;
        // A task of its own has to be taken up: the worker under this one may be the last that moves.
        if tokio::spawn(async {}).await.is_err() {
            continue;
        }
        // A process that leaves closes its listeners on purpose.
        let is_whole = api.leaving.load(Ordering::SeqCst) || is_whole(&parts);
        if is_whole {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        } else if was_whole {
            api.shared.telemetry.life.watchdog_starves();
        }
        was_whole = is_whole;
    }
}

fn is_whole(parts: &[AbortHandle]) -> bool {
    !parts.iter().any(AbortHandle::is_finished)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[tokio::test]
    async fn a_process_without_a_part_is_not_ready() {
        let lasting = tokio::spawn(std::future::pending::<()>());
        let broken = tokio::spawn(async { panic!("a listener's bug") });
        let parts = [lasting.abort_handle(), broken.abort_handle()];
        assert!(is_whole(&parts[..1]));
        assert!(broken.await.is_err());
        assert!(!is_whole(&parts));
    }
}
