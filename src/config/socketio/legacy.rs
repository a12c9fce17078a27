use std::sync::Arc;

use crate::config::Diagnostics;
use crate::config::auth::{Auth, CredentialSource};
use crate::config::cors::Cors;
use crate::config::names::Names;
use crate::config::parser::table::Table;
use crate::config::parser::tree;
use crate::config::rollout::{By, Rollout};
use crate::config::route::{self, Route};

/// What a client gets whose rollout says legacy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Legacy {
    /// Socket.IO over long-polling.
    Polling,
    /// The backend's own URLs.
    Native,
}

/// The policies of the path of Socket.IO.
#[derive(Clone, Copy)]
pub(super) struct HandshakePolicies<'a> {
    pub(super) cors: &'a Option<Arc<Cors>>,
    pub(super) auth: &'a [Arc<Auth>],
    pub(super) rollout: Option<&'a Rollout>,
}

pub(super) fn read(table: &Table<'_>) -> Legacy {
    table.word(
        "legacy",
        [("polling", Legacy::Polling), ("native", Legacy::Native)],
    )
}

/// The way to the Socket.IO server of before: it has no policies of ours, that server has its own.
pub(super) fn upstream(
    table: &Table<'_>,
    names: &Names<'_>,
    path: &str,
    handshake: HandshakePolicies<'_>,
) -> Option<Arc<Route>> {
    let upstream = table.reference("legacy_upstream", "upstream", names.upstreams)?;
    judge(table, handshake);
    let text = format!("path = \"/{{*rest}}\"\nupstream = {:?}", upstream.name);
    // What is noted there is not the file's.
    let desk = Diagnostics::new("", &text, table.desk.world);
    let root = tree::grow(&desk);
    let route = route::read(&Table::of(&desk, &root), 0, names)?;
    Some(Arc::new(Route {
        name: path.into(),
        path: path.to_owned(),
        cors: handshake.cors.clone(),
        rate_limit: None,
        ..route
    }))
}

/// Which of two servers a client meets is decided before the first answer: by what the handshake shows.
fn judge(table: &Table<'_>, handshake: HandshakePolicies<'_>) {
    let Some(rollout) = handshake.rollout else {
        let what = "has no effect without a rollout: no client is legacy";
        let fix = "name a `[rollout.NAME]` by `rollout`, or remove it";
        return table.error("legacy_upstream", what, fix);
    };
    let is_shown = |auth: &Arc<Auth>| {
        let mut places = auth.from.iter();
        let is_cookie = |place| matches!(place, &CredentialSource::Cookie(_));
        places.any(|place| *place == CredentialSource::Header || is_cookie(place))
    };
    let is_known = match rollout.by {
        By::Cookie | By::Ip => true,
        By::User | By::Tenant => !handshake.auth.is_empty() && handshake.auth.iter().all(is_shown),
    };
    if !is_known {
        let what = format!(
            "needs to know the client at its handshake, and the rollout \"{}\" goes by what only CONNECT says",
            rollout.name
        );
        let fix = "write `by = \"cookie\"` in the rollout, or name an `auth` that reads a header or a cookie";
        table.error("legacy_upstream", what, fix);
    }
}
