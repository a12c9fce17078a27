//! What sessions show of themselves to the admin API. A session's subscriptions are its own: it is asked, and answers when it
//! is next polled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout;

use super::handle::{Directive, SessionHandle};
use super::joined_namespace::JoinedNamespace;
use crate::config::Queue;
use crate::event::Position;
use crate::rollout::TransportKind;

/// How long sessions may take to answer. Each is a task that is woken for it, so only a process without time to run them takes
/// longer; those that have not answered are shown without their subscriptions.
const PATIENCE: Duration = Duration::from_secs(2);

/// One connection as the admin API shows it.
#[derive(Clone, Debug)]
pub(crate) struct SessionInfo {
    /// Its place among all: later ones have greater numbers.
    pub(crate) number: u64,
    /// What `welcome.conn` said.
    pub(crate) id: String,
    /// The user, where a policy has identified one.
    pub(crate) user: Option<String>,
    /// The client's address.
    pub(crate) remote: String,
    /// `json` or `raw`.
    pub(crate) protocol: &'static str,
    /// `websocket`.
    pub(crate) transport: &'static str,
    /// The namespace that it is a socket of.
    pub(crate) namespace: Option<Arc<JoinedNamespace>>,
    /// Where its rollout has it.
    pub(crate) cohort: TransportKind,
    /// Unix seconds.
    pub(crate) connected_at: u64,
    /// What waits to be sent.
    pub(crate) queued: Queue,
    /// In the order of subscribing.
    pub(crate) subscriptions: Vec<SubscriptionInfo>,
}

/// One subscription as the admin API shows it.
#[derive(Clone, Debug)]
pub(crate) struct SubscriptionInfo {
    /// Channel.
    pub(crate) ch: u32,
    /// Route name.
    pub(crate) route: Arc<str>,
    /// Path and query.
    pub(crate) path: String,
    /// Where it stands.
    pub(crate) at: Position,
    /// Held by its client.
    pub(crate) paused: bool,
}

/// What only the session itself knows.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// The word for what moves its messages.
    pub(crate) transport: Option<&'static str>,
    /// The namespace that it is a socket of.
    pub(crate) namespace: Option<Arc<JoinedNamespace>>,
    /// What waits to be sent, in the outbox and behind the subscriptions.
    pub(crate) queued: Queue,
    /// In the order of subscribing.
    pub(crate) subscriptions: Vec<SubscriptionInfo>,
}

impl Shown {
    fn listens_to(&self, route: &str) -> bool {
        let mut subscriptions = self.subscriptions.iter();
        subscriptions.any(|subscription| &*subscription.route == route)
    }
}

/// The way back to the asker. When every session has dropped its own, all answers are there.
#[derive(Clone, Debug)]
pub(super) struct Asked(Sender<(u64, Shown)>);

impl Asked {
    /// Answers for the session of this number.
    pub(crate) fn answer(self, number: u64, shown: Shown) {
        // There is room for every answer; the asker may have given up.
        drop(self.0.try_send((number, shown)));
    }
}

/// Asks these sessions, all at once.
async fn ask(members: &[Arc<SessionHandle>]) -> HashMap<u64, Shown> {
    let (sender, mut answers) = channel(members.len().max(1));
    for member in members {
        member.direct(Directive::Show(Asked(sender.clone())));
    }
    drop(sender);
    let mut shown = HashMap::with_capacity(members.len());
    let all = async {
        while let Some((number, answer)) = answers.recv().await {
            shown.insert(number, answer);
        }
    };
    // What has come by then is listed.
    drop(timeout(PATIENCE, all).await);
    shown
}

/// What these sessions are, in their order.
pub(super) async fn list(members: &[Arc<SessionHandle>]) -> Vec<SessionInfo> {
    let mut shown = ask(members).await;
    let info = |member: &Arc<SessionHandle>| {
        let Shown {
            transport,
            namespace,
            queued,
            subscriptions,
        } = shown.remove(&member.number).unwrap_or_default();
        SessionInfo {
            number: member.number,
            id: member.id.to_string(),
            user: member.user(),
            remote: member.client.remote.clone(),
            protocol: member.protocol,
            transport: transport.unwrap_or("websocket"),
            namespace,
            cohort: member.cohort.transport(),
            connected_at: member.connected_at,
            queued,
            subscriptions,
        }
    };
    members.iter().map(info).collect()
}

/// Those of these sessions with a subscription to a route.
pub(super) async fn that_listen_to(
    route: &str,
    mut members: Vec<Arc<SessionHandle>>,
) -> Vec<Arc<SessionHandle>> {
    let shown = ask(&members).await;
    members.retain(|member| {
        let shown = shown.get(&member.number);
        shown.is_some_and(|shown| shown.listens_to(route))
    });
    members
}
