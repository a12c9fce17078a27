//! `/v1/revoke`: a user, a login or one token is revoked; sessions that depend on it are closed at once.

use schemars::JsonSchema;
use serde::Deserialize;

use super::close::Closed;
use crate::admin::Admin;
use crate::admin::endpoint::Call;
use crate::admin::response::Fault;
use crate::admin::schema::exactly_one;
use crate::admin::typed::Json;
use crate::policy::auth::Authenticated;
use crate::policy::auth::revocation::Revoked;
use crate::session::registry::Selector;
use crate::storage;

/// The file of `state_dir` that keeps what was taken back.
pub(crate) const REVOCATIONS: &str = "revocations.json";

/// What is revoked: one of these.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = exactly_one(&["user", "session", "jti"])))]
pub(crate) struct Revoking {
    /// The user, as their policy names them.
    user: Option<String>,
    /// An id of `/v1/sessions`: the login by which it came in.
    session: Option<String>,
    /// A token's `jti`.
    jti: Option<String>,
}

/// Takes back, in force at once; done when it is also on disk, where there is one.
pub(crate) async fn revoke(
    call: Call,
    Json(revoking): Json<Revoking>,
) -> Result<Json<Closed>, Fault> {
    let admin = &call.admin;
    let closed = match revoking {
        Revoking {
            user: Some(user),
            session: None,
            jti: None,
        } => take_back(&[Revoked::User(&user)], admin).await,
        Revoking {
            user: None,
            session: Some(id),
            jti: None,
        } => revoke_session(&id, admin).await?,
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
    Ok(Json(Closed { closed }))
}

/// The login by which one connection came in, and with it every connection of that login.
async fn revoke_session(id: &str, admin: &Admin) -> Result<usize, Fault> {
    let sessions = &admin.shared.sessions;
    let admissions = sessions
        .admissions_of(id)
        .ok_or_else(|| Fault::not_found("no such session; `GET /v1/sessions` lists them"))?;
    Ok(match admissions.is_empty() {
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
    })
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
