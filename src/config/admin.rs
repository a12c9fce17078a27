use serde_json::json;

use super::parser::problem::Wrong;
use super::parser::secret::Secret;
use super::parser::table::Table;
use super::parser::{address, scalar};
use super::server::{self, Listen};

/// `[admin]`: the other listener, with the API, the metrics and the probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admin {
    /// Where it listens: `host:port` or `unix:/path`. A change needs a restart.
    pub(crate) listen: Listen,
    /// Bearer token of the API; required where the address is neither loopback nor a unix socket.
    pub(crate) token: Option<Secret>,
    /// Host names by which it may be reached, besides IP literals and `localhost`.
    pub(crate) hosts: Vec<String>,
}

const LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 9900);

pub(super) fn read(table: &Table<'_>, public: &[Listen]) -> Admin {
    let node = table.node("listen");
    table.note("listen", node, json!("127.0.0.1:9900"));
    let said = node.map(|node| scalar::text(table.desk, node, server::listen));
    let is_known = said != Some(None);
    let listen = said.flatten().unwrap_or(Listen::Tcp(LISTEN.into()));
    let token = table.secret("token");
    let is_open = matches!(listen, Listen::Tcp(address) if !address.ip().is_loopback());
    if is_open && !table.says("token") {
        let what = "is not loopback, and the admin API has no token";
        table.error(
            "listen",
            what,
            "set `admin.token`, or listen on 127.0.0.1 or a unix socket",
        );
    }
    let is_chosen = matches!(listen, Listen::Tcp(address) if address.port() == 0);
    if is_known && public.contains(&listen) && !is_chosen {
        table.error(
            "listen",
            "is an address of `server.listen` too",
            "give each its own port",
        );
    }
    let hosts = table.texts("hosts", host);
    Admin {
        listen,
        token,
        hosts,
    }
}

fn host(text: &str) -> Result<String, Wrong> {
    match address::is_host_name(text) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(Wrong::new(
            "is no host name",
            "write a bare name, without scheme and port",
        )),
    }
}
