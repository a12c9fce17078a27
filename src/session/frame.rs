//! A `sub` or a `req` on its way through the checks.

use std::time::Duration;

use super::client::Located;
use super::recovery::AskingEvent;
use crate::json::Scalar;
use crate::policy::rate_limit::LimitKind;
use crate::policy::{Ask, CheckProgress, Policies};
use crate::protocol::{Req, Tag};

/// A `sub` or a `req`, and how far its checks have come.
pub(super) struct Frame {
    pub(crate) wants: Wants,
    /// The route of its path, and the path and query there.
    pub(crate) place: Option<Located>,
    /// The configuration that it was found in.
    pub(crate) generation: u64,
    pub(crate) progress: CheckProgress,
    /// How long it has waited for others of its client.
    pub(crate) waited: Duration,
}

/// What a frame wants.
pub(super) enum Wants {
    Sub(Tag, SubWish),
    Req(Req),
}

/// What a `sub` wants.
pub(super) struct SubWish {
    pub(crate) path: String,
    pub(crate) after: Option<String>,
    pub(crate) last_event_id: Option<String>,
    pub(crate) filter: Vec<(String, Vec<Scalar>)>,
    /// The client could not come back to its session: what it has missed is told by a gap, from `after` where that is known.
    pub(crate) is_lost: bool,
    /// The event that asks for it, of Socket.IO.
    pub(crate) asked_by: Option<Box<AskingEvent>>,
}

impl SubWish {
    /// What a newcomer wants.
    pub(crate) fn of(path: String) -> SubWish {
        SubWish {
            path,
            after: None,
            last_event_id: None,
            filter: Vec::new(),
            is_lost: false,
            asked_by: None,
        }
    }
}

impl Frame {
    pub(crate) fn new(wants: Wants) -> Frame {
        Frame {
            wants,
            place: None,
            generation: 0,
            progress: CheckProgress::default(),
            waited: Duration::ZERO,
        }
    }

    /// One whose route is known already, by this configuration.
    pub(crate) fn at(wants: Wants, place: Located, generation: u64) -> Frame {
        Frame {
            place: Some(place),
            generation,
            ..Frame::new(wants)
        }
    }

    /// Whether it is a `sub`.
    pub(crate) fn is_sub(&self) -> bool {
        matches!(self.wants, Wants::Sub(..))
    }

    /// As the checks call it.
    pub(crate) fn ask(&self) -> Ask {
        match self.wants {
            Wants::Sub(..) => Ask::Sub,
            Wants::Req(_) => Ask::Req,
        }
    }

    /// What limits count it as.
    pub(crate) fn kind(&self) -> LimitKind {
        match self.wants {
            Wants::Sub(..) => LimitKind::Subscriptions,
            Wants::Req(_) => LimitKind::Requests,
        }
    }

    /// Those of its route.
    pub(crate) fn policies(&self) -> Policies<'_> {
        let found = self.place.as_ref().map(|(found, _)| found);
        found.map_or_else(Policies::default, Policies::of_match)
    }
}
