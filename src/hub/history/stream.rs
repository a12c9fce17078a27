//! What a log knows of the stream that fills it: what it is resumed after, and where its last connection that began anew
//! begins. Pure: time is an argument.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Join;
use crate::event::{Draft, End, Event};

/// How long after a connection's head its events count as its beginning.
const BEGINNING: Duration = Duration::from_millis(300);

/// Ids that are remembered when their events are gone. One that comes again later names the newer event only.
const REMEMBERED: usize = 1000;

/// How a connection to the backend began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamConnection {
    /// After an id that the stream itself had sent.
    Resumed,
    /// After the id that a client brought.
    Brought,
    /// Without `Last-Event-ID`: it sends what the backend sends to every new connection.
    Fresh,
}

/// What became of the `Last-Event-ID` that a client brought to a new topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Brought {
    /// There was none.
    #[default]
    Nothing,
    /// The backend has not answered.
    Asked(Arc<str>),
    /// The stream began after it.
    Taken(Arc<str>),
    /// The stream began without it.
    Refused,
    /// For the clients that brought it the stream is over.
    Over(End),
}

/// What a newcomer without a position gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Newcomer {
    /// What comes from now on.
    Live,
    /// What follows this offset.
    Window(u64),
    /// A request of its own.
    Own,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    brought: Brought,
    /// The id that a reconnect may send: the newest that the stream itself has sent.
    last_id: Option<Arc<str>>,
    /// The last connection that began without `Last-Event-ID`.
    fresh: Option<Fresh>,
    /// Marks of the newest ids that are no longer in the log, oldest first: one that comes again names two events.
    gone: VecDeque<u32>,
    /// Counts what changes without an entry.
    version: u64,
}

/// Where a connection that began without `Last-Event-ID` begins in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fresh {
    /// Offset before its first event.
    pub(crate) after: u64,
    /// When its head came.
    pub(crate) head_at: Instant,
    /// When its first event came.
    pub(crate) first_at: Option<Instant>,
}

/// A [`Stream`] as it is sent to another process.
#[derive(Clone, Debug)]
pub(crate) struct StreamState {
    /// The id that a client brought, and whether the stream began after it.
    pub(crate) brought: Option<(Arc<str>, bool)>,
    /// As in [`Stream`].
    pub(crate) last_id: Option<Arc<str>>,
    /// As in [`Stream`].
    pub(crate) fresh: Option<Fresh>,
    /// As in [`Stream`], where the other process has not seen them go.
    pub(crate) gone: Vec<u32>,
}

impl Stream {
    /// A stream that a client wants resumed after an id.
    pub(crate) fn resumed_after(id: Option<Arc<str>>) -> Self {
        Stream {
            brought: id.map_or(Brought::Nothing, Brought::Asked),
            ..Stream::default()
        }
    }

    /// An event is appended.
    pub(crate) fn take(&mut self, draft: &Draft, at: Instant) {
        if draft.has_own_id {
            self.last_id.clone_from(&draft.id);
        }
        if let Some(fresh) = &mut self.fresh {
            fresh.first_at.get_or_insert(at);
        }
    }

    /// An event is let go.
    pub(crate) fn let_go(&mut self, event: &Event) {
        if let Some(id) = event.id.as_ref().filter(|_| event.has_own_id) {
            self.forget(mark(id));
        }
    }

    fn forget(&mut self, mark: u32) {
        if self.gone.len() == REMEMBERED {
            self.gone.pop_front();
        }
        self.gone.push_back(mark);
    }

    /// Whether an event with this id has been let go.
    pub(crate) fn had(&self, id: &str) -> bool {
        let mark = mark(id);
        self.gone.iter().any(|gone| *gone == mark)
    }

    /// See [`Brought`].
    pub(crate) fn brought(&self) -> &Brought {
        &self.brought
    }

    /// The id that a client brought, until the backend has answered.
    pub(crate) fn asked(&self) -> Option<&Arc<str>> {
        match &self.brought {
            Brought::Asked(id) => Some(id),
            _ => None,
        }
    }

    /// Whether the log begins behind the event with this id: a client brought it.
    pub(crate) fn began_after(&self, id: &str) -> bool {
        matches!(&self.brought, Brought::Asked(own) | Brought::Taken(own) if **own == *id)
    }

    /// See [`Stream`].
    pub(crate) fn last_id(&self) -> Option<&Arc<str>> {
        self.last_id.as_ref()
    }

    /// Counts what changes without an entry.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// See [`StreamState`].
    pub(crate) fn export(&self, with_gone: bool) -> StreamState {
        StreamState {
            brought: match &self.brought {
                Brought::Asked(id) => Some((id.clone(), false)),
                Brought::Taken(id) => Some((id.clone(), true)),
                Brought::Nothing | Brought::Refused | Brought::Over(_) => None,
            },
            last_id: self.last_id.clone(),
            fresh: self.fresh,
            gone: match with_gone {
                true => self.gone.iter().copied().collect(),
                false => Vec::new(),
            },
        }
    }

    /// Goes on as the stream did elsewhere.
    pub(crate) fn import(&mut self, handed: StreamState) {
        self.brought = match handed.brought {
            Some((id, true)) => Brought::Taken(id),
            Some((id, false)) => Brought::Asked(id),
            None => Brought::Nothing,
        };
        self.last_id = handed.last_id;
        self.fresh = handed.fresh;
        handed.gone.into_iter().for_each(|mark| self.forget(mark));
        self.version += 1;
    }

    /// Another connection to the backend stands, where the log has come to `head`; what was lost before it has been reported.
    pub(crate) fn connected(&mut self, connection: StreamConnection, head_at: Instant, head: u64) {
        self.version += 1;
        match (connection, &self.brought) {
            (StreamConnection::Resumed, _) => {}
            (StreamConnection::Brought, Brought::Asked(id)) => {
                self.brought = Brought::Taken(id.clone())
            }
            (StreamConnection::Brought, _) => {}
            (StreamConnection::Fresh, brought) => {
                if matches!(brought, Brought::Asked(_)) {
                    self.brought = Brought::Refused;
                }
                self.last_id = None;
                self.fresh = Some(Fresh {
                    after: head,
                    head_at,
                    first_at: None,
                });
            }
        }
    }

    /// The backend has nothing more for the clients that brought the id.
    pub(crate) fn end_brought(&mut self, end: End) {
        self.brought = Brought::Over(end);
        self.version += 1;
    }

    /// What a client gets that comes without a position, where the log may be replayed from `window` to `head`.
    pub(crate) fn newcomer(&self, join: Join, now: Instant, window: u64, head: u64) -> Newcomer {
        let kept = |after: u64| Newcomer::Window(after.clamp(window - 1, head));
        let fresh = match (&self.fresh, &self.brought) {
            (Some(fresh), _) => fresh,
            // The request under way goes without an id: all that comes of it is for this one too.
            (None, Brought::Nothing | Brought::Refused | Brought::Over(_)) => {
                return Newcomer::Live;
            }
            (None, Brought::Asked(_) | Brought::Taken(_)) => {
                return match join {
                    Join::Live => Newcomer::Live,
                    Join::Window => kept(0),
                    Join::Own | Join::Auto => Newcomer::Own,
                };
            }
        };
        let is_kept = window <= fresh.after.saturating_add(1);
        match join {
            Join::Live => Newcomer::Live,
            Join::Window => kept(fresh.after),
            Join::Own => Newcomer::Own,
            Join::Auto if !fresh.may_have_beginning(now) => Newcomer::Live,
            Join::Auto if is_kept && fresh.is_young(now) => kept(fresh.after),
            Join::Auto if self.last_id.is_some() || !is_kept => Newcomer::Own,
            Join::Auto => kept(fresh.after),
        }
    }
}

/// The same in every process.
fn mark(id: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish() as u32
}

impl Fresh {
    fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.head_at) < BEGINNING
    }

    /// Whether an event came soon enough after the head, or still may.
    fn may_have_beginning(&self, now: Instant) -> bool {
        match self.first_at {
            Some(first_at) => first_at.saturating_duration_since(self.head_at) < BEGINNING,
            None => self.is_young(now),
        }
    }
}
