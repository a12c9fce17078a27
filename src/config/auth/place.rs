use crate::config::parser::problem::Wrong;
use crate::config::parser::table::Table;
use crate::config::parser::units;

/// A place of a request that may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// `Authorization: Bearer`; of API keys also `X-Api-Key`.
    Header,
    /// This cookie.
    Cookie(String),
    /// The `cf.bearer.` item of `Sec-WebSocket-Protocol`.
    Subprotocol,
    /// `hello` and its like.
    Message,
    /// This query parameter; it never goes upstream.
    Query(String),
    /// `?ticket=` of a handshake.
    Ticket,
}

/// `from`.
pub(super) fn read(table: &Table<'_>, is_forward: bool) -> Vec<CredentialSource> {
    let default = ["header", "subprotocol", "message"];
    let from = table.texts_or("from", &default, |text| place(text, is_forward));
    table.refuse_empty("from", "\"header\"");
    for source in &from {
        if let CredentialSource::Query(name) = source {
            let what = format!(
                "takes a credential from `?{name}=`: URLs end up in histories, and in the logs of others"
            );
            let fix = "write \"ticket\" or \"subprotocol\" for handshakes, \"header\" for requests";
            table.warning("from", what, fix);
        }
    }
    from
}

fn place(text: &str, is_forward: bool) -> Result<CredentialSource, Wrong> {
    const OWN: [&str; 4] = ["ticket", "cf_after", "cf_last_event_id", "cf_wrap"];
    let words = [
        ("header", CredentialSource::Header),
        ("subprotocol", CredentialSource::Subprotocol),
        ("message", CredentialSource::Message),
        ("ticket", CredentialSource::Ticket),
    ];
    match text.split_once(':') {
        Some(("cookie", _)) if is_forward => Err(Wrong::new(
            "has no place here: an authority is asked with the cookies themselves",
            "name it in `cookies`",
        )),
        Some(("cookie", name)) => units::cookie_name(name).map(CredentialSource::Cookie),
        Some(("query", name)) if OWN.contains(&name) => Err(Wrong::new(
            "is a parameter of crossfade itself",
            "choose another name",
        )),
        Some(("query", name)) if units::is_token(name) => {
            Ok(CredentialSource::Query(name.to_owned()))
        }
        None if text == "cookie" || text == "query" => {
            let fix = format!("name it: \"{text}:NAME\"");
            Err(Wrong::new("wants a name", fix))
        }
        None => units::word(text, &words),
        Some(_) => Err(Wrong::new(
            "is no place of a credential",
            "write one of \"header\", \"cookie:NAME\", \"subprotocol\", \"message\", \"query:NAME\", \"ticket\"",
        )),
    }
}
