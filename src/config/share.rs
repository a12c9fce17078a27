use hyper::header::{self, HeaderName};
use serde_json::json;

use super::problem::Wrong;
use super::scalar;
use super::table::Table;
use super::tree::Form;
use super::units;

/// Among whom one upstream is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    /// Everybody; no client credential goes upstream.
    Public,
    /// Connections with the same credentials.
    User,
    /// Nobody.
    Connection,
    /// Those who have the same values of these claims.
    Claims(Vec<String>),
}

/// A sign in an answer that it is not for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tripwire {
    /// `Cache-Control: no-store`.
    NoStore,
    /// `Cache-Control: private`.
    Private,
    /// `Set-Cookie`.
    SetCookie,
    /// `Vary: Cookie`, `Authorization` or `*`.
    Vary,
}

/// `share` with the tripwires it silences.
pub(super) fn read(table: &Table<'_>) -> (Share, Vec<Tripwire>) {
    let Some(node) = table.node("share") else {
        table.note("share", None, json!("user"));
        return (Share::User, Vec::new());
    };
    if let Form::Table(_) = node.form {
        let accept = Table::read(table.desk, node, public).unwrap_or_default();
        return (Share::Public, accept);
    }
    table.note("share", Some(node), json!("user"));
    let words = [
        ("user", Share::User),
        ("public", Share::Public),
        ("connection", Share::Connection),
    ];
    let share = scalar::text(table.desk, node, |text| units::word(text, &words));
    (share.unwrap_or(Share::User), Vec::new())
}

/// The headers of `vary`.
pub(super) fn vary(table: &Table<'_>, share: &Share) -> Vec<HeaderName> {
    let is_public = *share == Share::Public;
    table.texts("vary", |text| varying(text, is_public))
}

fn public(table: &Table<'_>) -> Vec<Tripwire> {
    table.refuse_later(["claims"], "sharing by claims, which needs authentication");
    if !table.switch("public", false) && !table.says("claims") {
        table.error(
            "public",
            "is not true",
            "write `public = true`, or `share = \"user\"`",
        );
    }
    let words = [
        ("no-store", Tripwire::NoStore),
        ("private", Tripwire::Private),
        ("set-cookie", Tripwire::SetCookie),
        ("vary", Tripwire::Vary),
    ];
    table.texts("accept", |text| units::word(text, &words))
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
