use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;

use super::load_balancing::{self, Balance, Budget, Health};
use super::parser::diagnostics::Diagnostics;
use super::parser::problem::Wrong;
use super::parser::table::Table;
use super::parser::{address, tree, units};
use super::upstream_tls::{self, Trust};

/// `[upstream.NAME]`: a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// NAME.
    pub name: String,
    /// Its servers, such as `["http://127.0.0.1:5000"]`: scheme (http or https), host and port, no path; or `"unix:/run/app.sock"`, a socket on this machine, which only the file on disk can add. A name is looked up again when its time to live is over, and requests then go to its new addresses. Required.
    pub servers: Vec<Authority>,
    /// What happens to a connection that a client has authenticated by NTLM or Negotiate: `"close"` closes it after the answer; `"pin"` keeps it for that client connection and that server until either ends or for `idle_timeout`, whatever `keepalive` says. Pinned is only over HTTP/1.1 on both sides, and never for a peer in `server.trusted_proxies` or one that sends `X-Forwarded-For` and the like. No other client, source, poll, authority or check ever uses such a connection.
    pub connection_auth: ConnectionAuth,
    /// `"preserve"` sends the client's Host upstream; anything else is a fixed one.
    pub host: Option<HeaderValue>,
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// To the first byte of an answer; event streams have none.
    pub response_timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// Idle connections kept per server.
    pub keepalive: usize,
    /// Whether the servers are spoken to by HTTP/2: https servers where they choose it, http servers always. WebSockets go by HTTP/1.1 all the same.
    pub http2: bool,
    /// `[upstream.NAME.tls]`.
    pub tls: Trust,
    /// How requests are spread over several servers: `"round_robin"`, `"least_requests"` (the server with the
    /// fewest in flight), or by a consistent hash, so that the same key meets the same server: `{hash = KEY}`
    /// with `"header:X-Tenant"`, `"cookie:NAME"`, `"path"` or `"ip"`. Requests without the key are spread by
    /// round robin; polls and streams without it are hashed by their path.
    pub balance: Balance,
    /// `[upstream.NAME.health]`.
    pub health: Option<Health>,
    /// `[upstream.NAME.budget]`.
    pub budget: Budget,
}

/// What happens to a connection that its backend takes for one user's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionAuth {
    /// It is closed after the answer.
    #[default]
    Close,
    /// It is kept for the client that it came about for.
    Pin,
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// `host:port`, the host a name or an IP literal as it stands in a URL; or `unix:` and a path.
    pub(crate) address: String,
    /// Whether it is spoken to over TLS.
    pub(crate) is_https: bool,
}

impl Authority {
    /// The socket's file, where it is one on this machine.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.address.strip_prefix(UNIX).map(Path::new)
    }

    /// What `Host` says where the client and the configuration say nothing.
    pub(crate) fn host_header(&self) -> &str {
        match self.socket() {
            Some(_) => "localhost",
            None => &self.address,
        }
    }

    /// Its host alone, as it stands in a URL.
    pub(crate) fn host(&self) -> &str {
        self.address
            .rsplit_once(':')
            .map_or(&self.address, |(host, _)| host)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        let port = self.address.rsplit_once(':').map(|(_, port)| port.parse());
        port.and_then(Result::ok).unwrap_or(80)
    }

    /// Its URL, without a path; of a socket its file.
    pub(crate) fn url(&self) -> String {
        if self.socket().is_some() {
            return self.address.clone();
        }
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

pub(super) fn read(table: &Table<'_>, name: &str) -> Arc<Upstream> {
    let (servers, are_servers): (Vec<Authority>, bool) =
        (table.desk).judged(|| table.texts("servers", server));
    table.demand("servers", "[\"http://127.0.0.1:5000\"]");
    table.refuse_empty("servers", "\"http://127.0.0.1:5000\"");
    let fixed = |text: &str| match text {
        "preserve" => Ok(None),
        _ => address::host_header(text).map(Some),
    };
    if table.says("tls") && are_servers && !servers.iter().any(|server| server.is_https) {
        table.warning(
            "tls",
            "has no effect: no server is an https one",
            "write `https://` in `servers`, or remove it",
        );
    }
    let fates = [
        ("close", ConnectionAuth::Close),
        ("pin", ConnectionAuth::Pin),
    ];
    let connection_auth = table.word("connection_auth", fates);
    let http2 = table.switch("http2", false);
    if connection_auth == ConnectionAuth::Pin && http2 {
        table.warning(
            "connection_auth",
            "has no effect on connections of HTTP/2: they are closed after the answer",
            "set `http2 = false`",
        );
    }
    Arc::new(Upstream {
        name: name.to_owned(),
        servers,
        connection_auth,
        host: table.text_or("host", "preserve", fixed),
        connect_timeout: table.duration("connect_timeout", "3s"),
        response_timeout: table.duration("response_timeout", "30s"),
        idle_timeout: table.duration("idle_timeout", "60s"),
        keepalive: table.integer("keepalive", 512, 0..=units::MANY),
        http2,
        tls: table.table("tls", upstream_tls::read),
        balance: load_balancing::balance(table),
        health: load_balancing::health(table),
        budget: load_balancing::budget(table),
    })
}

/// In place of one that a table names in vain, so that the rest of the table can be judged.
pub(super) fn stand_in(table: &Table<'_>) -> Arc<Upstream> {
    // What is noted there is not the file's.
    let desk = Diagnostics::new("", "", table.desk.world);
    let root = tree::grow(&desk);
    read(&Table::of(&desk, &root).empty("upstream"), "")
}

/// Before the path of a server's socket.
const UNIX: &str = "unix:";

/// The longest path that the system takes for a socket, bytes.
const LONGEST: usize = 107;

pub(super) fn server(text: &str) -> Result<Authority, Wrong> {
    if let Some(path) = text.strip_prefix(UNIX) {
        if !path.starts_with('/') || path.len() > LONGEST || path.contains('\0') {
            let fix = "write its absolute path, of at most 107 bytes: \"unix:/run/app.sock\"";
            return Err(Wrong::new("is no socket's path", fix));
        }
        return Ok(Authority {
            address: text.to_owned(),
            is_https: false,
        });
    }
    let bare = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let origin = address::origin(&bare)?;
    Ok(Authority {
        address: format!("{}:{}", origin.host, origin.port),
        is_https: origin.scheme == "https",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_scheme_host_and_port() {
        let plain = |text: &str| server(text).expect(text).address;
        assert_eq!(plain("http://App:5000"), "app:5000");
        assert_eq!(plain("http://app/"), "app:80");
        assert_eq!(plain("http://[::1]:5000"), "[::1]:5000");
        let safe = server("https://app").unwrap();
        assert_eq!((safe.url(), safe.host()), ("https://app:443".into(), "app"));
        assert_eq!(server("http://[::1]").unwrap().host(), "[::1]");
        let socket = server("unix:/run/App.sock").unwrap();
        assert_eq!(socket.url(), "unix:/run/App.sock");
        assert_eq!(socket.socket(), Some(Path::new("/run/App.sock")));
        assert_eq!(socket.host_header(), "localhost");
        let long = format!("unix:/{}", "x".repeat(LONGEST));
        for broken in [
            "unix:run/app.sock",
            "unix:",
            &long,
            "app:5000",
            "http://app/x",
            "http://u:p@app",
            "ftp://app",
            "http://",
            "http://a:99999",
            "http://[::1",
            "http://a b",
        ] {
            assert!(server(broken).is_err(), "{broken}");
        }
    }
}
