use hyper::header::{self, HeaderName};
use serde_json::json;

use super::parser::problem::Wrong;
use super::parser::table::Table;
use super::parser::tree::NodeForm;
use super::parser::{scalar, units};

/// The clients that share one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Everybody; no client credential goes upstream.
    Public,
    /// Connections with the same credentials.
    User,
    /// None: each connection has its own.
    Connection,
    /// Users with the same values of these claims.
    Claims(Vec<String>),
    /// All users that the same policy of the route's `auth` admits.
    Authenticated,
}

/// A sign in an answer that it is not for all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tripwire {
    /// `Cache-Control: no-store`.
    NoStore,
    /// `Cache-Control: private`.
    Private,
    /// `Set-Cookie`.
    SetCookie,
    /// `Vary: Cookie`, `Authorization` or `*`.
    Vary,
}

impl Tripwire {
    /// The word in `accept`, in logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Tripwire::NoStore => "no-store",
            Tripwire::Private => "private",
            Tripwire::SetCookie => "set-cookie",
            Tripwire::Vary => "vary",
        }
    }
}

/// `share` with the tripwires it silences.
pub(super) fn read(table: &Table<'_>) -> (Share, Vec<Tripwire>) {
    let Some(node) = table.node("share") else {
        table.note("share", None, json!("user"));
        return (Share::User, Vec::new());
    };
    let has_auth = table.says("auth");
    if let NodeForm::Table(_) = node.form {
        let read = Table::read(table.desk, node, detailed);
        let (share, accept) = read.unwrap_or((Share::User, Vec::new()));
        refuse_strangers(table, &share);
        return (share, accept);
    }
    table.note("share", Some(node), json!("user"));
    let words = [
        ("user", Share::User),
        ("public", Share::Public),
        ("connection", Share::Connection),
        ("authenticated", Share::Authenticated),
    ];
    let share = scalar::text(table.desk, node, |text| match text {
        "all" | "any" | "everyone" | "everybody" | "global" | "shared" => Err(Wrong::new(
            "is not known here",
            "write \"public\" where every client may see the same, \"authenticated\" where every user may that `auth` lets in",
        )),
        text => units::word(text, &words),
    });
    let share = share.unwrap_or(Share::User);
    refuse_strangers(table, &share);
    if share == Share::Public && has_auth {
        let what = "sends no credentials upstream, though the route asks for some by `auth`";
        let fix = "write `share = \"authenticated\"` where the backend wants them too, else `share = {public = true}`";
        table.warning("share", what, fix);
    }
    (share, Vec::new())
}

/// A scope of known users needs `auth`: without it crossfade knows no user.
fn refuse_strangers(table: &Table<'_>, share: &Share) {
    let what = match share {
        Share::Claims(_) => "goes by claims, and no client has any without `auth`",
        Share::Authenticated => "is for the users that `auth` admits, and the route has no `auth`",
        Share::Public | Share::User | Share::Connection => return,
    };
    if !table.says("auth") {
        let fix = "write `auth = \"NAME\"` beside it, or `share = \"user\"`";
        table.error("share", what, fix);
    }
}

/// The headers of `vary`.
pub(super) fn vary(table: &Table<'_>, share: &Share) -> Vec<HeaderName> {
    let is_public = *share == Share::Public;
    table.texts("vary", |text| varying(text, is_public))
}

/// `{public = true, accept = […]}`, `{authenticated = true, accept = […]}` or `{claims = […], accept = […]}`.
fn detailed(table: &Table<'_>) -> (Share, Vec<Tripwire>) {
    let claims = table.texts("claims", units::member);
    let is_public = table.switch("public", false);
    let is_authenticated = table.switch("authenticated", false);
    table.refuse_empty("claims", "\"tenantId\"");
    let share = match (is_public, is_authenticated, table.says("claims")) {
        (false, false, true) => Share::Claims(claims),
        (true, false, false) => Share::Public,
        (false, true, false) => Share::Authenticated,
        (false, false, false) => {
            let fix = "write `public = true`, `authenticated = true`, `claims = [\"tenantId\"]`, or `share = \"user\"`";
            table.error("public", "is not true", fix);
            Share::User
        }
        (is_public, _, has_claims) => {
            let key = if has_claims {
                "claims"
            } else {
                "authenticated"
            };
            let what = match is_public {
                true => "stands beside `public = true`, which shares with every client",
                false => {
                    "stands beside `authenticated = true`, which shares with every admitted user"
                }
            };
            table.error(key, what, "keep one of them");
            Share::User
        }
    };
    let wires = [
        Tripwire::NoStore,
        Tripwire::Private,
        Tripwire::SetCookie,
        Tripwire::Vary,
    ];
    let words = wires.map(|wire| (wire.as_str(), wire));
    let accept = table.texts("accept", |text| units::word(text, &words));
    (share, accept)
}

fn varying(text: &str, is_public: bool) -> Result<HeaderName, Wrong> {
    let name = units::header_name(text)?;
    if is_public && is_credential(&name) {
        return Err(Wrong::new(
            "is a credential, and a public route sends none upstream",
            "remove it, or write `share = \"user\"`",
        ));
    }
    match units::is_of_the_sidecar(&name) {
        true => Err(Wrong::new(
            "is set by the sidecar or by HTTP itself",
            "remove it",
        )),
        false => Ok(name),
    }
}

fn is_credential(name: &HeaderName) -> bool {
    let known = [
        header::COOKIE,
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
    ];
    let named = [
        "x-api-key",
        "x-auth-token",
        "x-access-token",
        "x-csrftoken",
        "x-csrf-token",
        "x-xsrf-token",
    ];
    known.contains(name) || named.contains(&name.as_str())
}
