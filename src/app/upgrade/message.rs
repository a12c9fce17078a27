//! Messages between the old and the new process. Members may be added; a message that one side does not know is passed over.

use serde::{Deserialize, Serialize};

use crate::hub::replication::ReplicationMessage;
use crate::session::LeftSession;

/// The layout of listeners and of the order of messages.
pub(crate) const PROTOCOL: u32 = 1;

/// The layout of exported topics. Where the two processes differ, topics begin anew.
pub(crate) const WINDOWS: u32 = 1;

/// From the new process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(crate) enum Up {
    /// The first word.
    Hello {
        /// See [`PROTOCOL`].
        protocol: u32,
        /// See [`WINDOWS`].
        windows: u32,
        /// What it calls itself.
        version: String,
        /// Its process id.
        pid: u32,
    },
    /// Its configuration is valid and all its addresses are bound; nothing is accepted yet.
    Ready,
    /// All topics received so far are in place.
    Settled,
    /// It accepts.
    Serving {
        /// How many topics it has taken; versions before do not say.
        #[serde(default)]
        topics: Option<usize>,
    },
    /// The stream of this topic is open here: it is to be let go.
    Taken {
        /// The topic's number on this way.
        topic: u64,
    },
    /// A write was observed: the topic is to be polled now.
    Refresh {
        /// The topic's number on this way.
        topic: u64,
    },
    /// Another upgrade waits: sessions are to leave at once.
    Hurry,
    /// From a version to come.
    #[serde(other)]
    Unknown,
}

/// From the old process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(crate) enum Down {
    /// Answers `Hello`. As many descriptors follow as there are listeners, after the one of stderr.
    Sockets {
        /// In the order in which their descriptors come.
        listeners: Vec<ListenerInfo>,
        /// Signs cookies where the configuration has no secret; base64.
        secret: String,
    },
    /// News of one topic.
    Topic {
        /// The topic's number on this way.
        topic: u64,
        /// What is new.
        news: ReplicationMessage,
    },
    /// All topics that existed at the start have been sent.
    Told,
    /// Accept. From now on the old process changes nothing that outlives it.
    Go {
        /// Where every rollout stands, as the state file would say it.
        rollouts: String,
    },
    /// A session has ended whose client may come back.
    Session(LeftSession),
    /// The service manager knows the new main process.
    Known,
    /// From a version to come.
    #[serde(other)]
    Unknown,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListenerInfo {
    /// Which key it serves.
    pub(crate) key: String,
    /// The address as the configuration has it; port 0 stays 0, so that it finds its like.
    pub(crate) address: String,
    /// It belongs to the service manager.
    #[serde(default)]
    pub(crate) is_lent: bool,
}
