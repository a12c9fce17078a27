//! `/v1/revoke`: a user, a login or one token is revoked; sessions that depend on it are closed at once.

use serde::Deserialize;
use serde_json::json;

use crate::admin::Admin;
use crate::admin::request::Asked;
use crate::admin::response::{self, Answer, Fault};
use crate::policy::auth::Authenticated;
use crate::policy::auth::revocation::Revoked;
use crate::session::registry::Selector;
use crate::storage;

/// The file of `state_dir` that keeps what was taken back.
pub const REVOCATIONS: &str = "revocations.json";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoking {
    user: Option<String>,
    session: Option<String>,
    jti: Option<String>,
}

/// Takes back, in force at once; done when it is also on disk, where there is one.
pub async fn revoke(asked: &Asked, admin: &Admin) -> Result<Answer, Fault> {
    let closed = match asked.json()? {
        Revoking {
            user: Some(user),
            session: None,
            jti: None,
        } => take_back(&[Revoked::User(&user)], admin).await,
        Revoking {
            user: None,
            session: Some(id),
            jti: None,
        } => return revoke_session(&id, admin).await,
        Revoking {
            user: None,
            session: None,
            jti: Some(jti),
        } => take_back(&[Revoked::Token(&jti)], admin).await,
        _ => {
            let detail = "send exactly one of `user`, `session`, `jti`";
            return Err(Fault::unprocessable(detail));
        }
    };
    Ok(response::json(&json!({ "closed": closed })))
}

/// The login by which one connection came in, and with it every connection of that login.
async fn revoke_session(id: &str, admin: &Admin) -> Result<Answer, Fault> {
    let sessions = &admin.shared.sessions;
    let admissions = sessions
        .admissions_of(id)
        .ok_or_else(|| Fault::not_found("no such session; `GET /v1/sessions` lists them"))?;
    let closed = match admissions.is_empty() {
        // No authority verified it: only the connection can be closed.
        true => {
            sessions
                .close(&Selector::Ids(vec![id.to_owned()]), 4403)
                .await
        }
        false => {
            // A token by its id too: its bytes may be written in more than one way.
            let what = admissions.iter().flat_map(|known| {
                let id = known.identity.token_id.as_deref().map(Revoked::Token);
                [Some(Revoked::Credential(known.identity.credential)), id]
            });
            let what: Vec<Revoked<'_>> = what.flatten().collect();
            take_back(&what, admin).await
        }
    };
    Ok(response::json(&json!({ "closed": closed })))
}

async fn take_back(what: &[Revoked<'_>], admin: &Admin) -> usize {
    let authenticator = &admin.shared.authenticator;
    for revoked in what {
        authenticator.revoke(*revoked);
    }
    let is_meant = |known: &Authenticated| authenticator.is_revoked(known);
    let closed = admin.shared.sessions.recheck_people(is_meant);
    let word = match what.first() {
        Some(Revoked::User(_)) => "user",
        Some(Revoked::Token(_)) => "jti",
        Some(Revoked::Credential(_) | Revoked::Everything) | None => "session",
    };
    admin.shared.telemetry.edge.revoked(word, closed);
    keep(admin).await;
    closed
}

/// Writes down what was taken back, so that it outlives the process.
async fn keep(admin: &Admin) {
    let config = admin.shared.in_force.load().config.clone();
    let Some(folder) = &config.server.state_dir else {
        return;
    };
    let path = folder.join(REVOCATIONS);
    let _turn = admin.keeping.lock().await;
    let text = admin.shared.authenticator.revocations();
    let file = path.clone();
    let writing = move || storage::write_whole(&file, text.as_bytes(), storage::PRIVATE);
    let written = tokio::task::spawn_blocking(writing).await;
    if let Ok(Err(error)) = written {
        admin.shared.telemetry.life.state_not_kept(&path, &error);
    }
}
