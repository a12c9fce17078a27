use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::json;

use super::parser::problem::Wrong;
use super::parser::secret::Secret;
use super::parser::table::Table;
use super::parser::tree::NodeForm;
use super::parser::value::ConfigValue;
use super::parser::{address, path_template, scalar, units};
use super::rate_limit::{self, Rate};
use super::tls::{self, Tls};

/// `[server]`: the sidecar itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Where clients connect: one address or a list of them, each `host:port` or `unix:/path`. Port 0 lets the system choose. A change needs a restart.
    pub(crate) listen: Vec<Listen>,
    /// How browsers name this server, such as `"https://app.example.com"`. Its host and port are an allowed origin, and discovery documents name it.
    pub(crate) public_url: Option<String>,
    /// Where crossfade's own endpoints live on the public address. A change needs a restart.
    pub(crate) prefix: String,
    /// Peers whose forwarded headers are believed: addresses or blocks, such as `["10.0.0.0/8"]`.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Where admin settings and the cookie secret are kept. Default: `$STATE_DIRECTORY` where systemd sets it, else none, and admin settings live in memory. A change needs a restart.
    pub(crate) state_dir: Option<PathBuf>,
    /// Signs cookies; the same on all instances. Default: made and kept in `state_dir`, else random at each start.
    pub(crate) secret: Option<Secret>,
    /// From SIGTERM to exit, in all; the first fifth of it, at most 5 s, still accepts.
    pub(crate) drain_timeout: Duration,
    /// Worker threads. Default: one per core. A change needs a restart.
    pub(crate) workers: Option<usize>,
    /// `[server.tls]`.
    pub(crate) tls: Option<Tls>,
    /// `[server.limits]`.
    pub(crate) limits: Limits,
    /// Whether connections begin with the PROXY protocol, version 1 or 2: `"off"`, `"optional"`, or
    /// `"require"`. It is believed from `trusted_proxies` and on unix sockets only. A connection of any other
    /// peer that sends it is closed, and so is one that lacks it where it is required.
    pub(crate) proxy_protocol: ProxyProtocol,
    /// What happens to header names with `_`, `.` or another byte that is no letter, digit or `-`, which backends fold into one: `"drop"` (the field), `"reject"` (the request) or `"allow"` (goes upstream, unless it folds to a forwarded name, or to that of a field about framing, routing or identity; two that fold into one are refused).
    pub(crate) underscore_headers: Underscores,
}

/// See [`Server::proxy_protocol`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ProxyProtocol {
    /// Such bytes are a request like any other, and a broken one.
    #[default]
    Off,
    /// With it or without.
    Optional,
    /// Every connection begins with it.
    Require,
}

/// See [`Server::underscore_headers`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// The field is left out.
    #[default]
    Drop,
    /// The request is refused.
    Reject,
    /// The field goes upstream, unless it folds to a name that means something to a proxy.
    Allow,
}

/// `[server.limits]`: what clients may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Client connections in all.
    pub(crate) connections: usize,
    /// Client connections of one address. Default: unlimited.
    pub(crate) connections_per_ip: Option<usize>,
    /// WebSocket handshakes in all, such as `"2000/s burst 10000"`; a client above it waits for up to 2 s, or
    /// is answered 503 with `Retry-After`. Default: unlimited.
    pub(crate) handshakes: Option<Rate>,
    /// Size of a request's head.
    pub(crate) header_bytes: usize,
    /// Header fields of a request.
    pub(crate) headers: usize,
    /// Header fields of a backend's answer; one that has more is refused with 502.
    pub(crate) response_headers: usize,
    /// From the first byte of a request's head to its last; likewise for a TLS handshake with what stands before it.
    pub(crate) header_timeout: Duration,
    /// Silence inside a request's body: above it 408, or, where the answer's head is out already, silence of both sides, and the exchange ends. `"0"` for none: a gRPC stream in both directions may be quiet for as long as it likes.
    pub(crate) body_idle_timeout: Option<Duration>,
    /// Bytes per second of a request's body, over any ten seconds of waiting for it before its answer begins, pauses above five seconds not counted; below it 408. Likewise of an answer, over thirty seconds of waiting for the client to take it; below it the connection ends. `"0"` for none.
    pub(crate) body_min_rate: u64,
    /// The budget for all queues and replay windows together.
    pub(crate) memory: usize,
    /// Topics in all: upstream streams and polled documents, those that linger included. Default: one per 16 KiB of `memory`, at least 10,000.
    pub(crate) topics: usize,
    /// Topics of one route that may count against one user that an `[auth]` has verified, or against one address (IPv6 by /64) where none has: above it `too_many_subs`. A topic counts against the client that it was made for as long as that client is subscribed, then against one of the other subscribers. Where a client's address is not known only `topics` holds: name your proxies in `trusted_proxies`, and let them send `X-Forwarded-For`.
    pub(crate) topics_per_principal: usize,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Listen {
    /// `host:port`; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

pub(super) fn read(table: &Table<'_>) -> Server {
    let ((listen, trusted_proxies), are_known) =
        (table.desk).judged(|| (listeners(table), table.texts("trusted_proxies", network)));
    let proxy_protocol = proxy_protocol(table);
    let has_unix = listen
        .iter()
        .any(|listen| matches!(listen, Listen::Unix(_)));
    if proxy_protocol != ProxyProtocol::Off && are_known && trusted_proxies.is_empty() && !has_unix
    {
        table.warning(
            "proxy_protocol",
            "is trusted from no peer: every connection that begins with it is closed",
            "name the proxies that send it in `trusted_proxies`",
        );
    }
    Server {
        listen,
        public_url: table.text("public_url", public_url),
        prefix: table.text_or("prefix", PREFIX, prefix),
        trusted_proxies,
        tls: table.optional_table("tls", tls::read).flatten(),
        proxy_protocol,
        state_dir: state_dir(table),
        secret: table.secret("secret"),
        drain_timeout: table.duration("drain_timeout", "25s"),
        workers: table.optional_integer("workers", 1..=1024),
        limits: table.table("limits", limits),
        underscore_headers: table.word(
            "underscore_headers",
            [
                ("drop", Underscores::Drop),
                ("reject", Underscores::Reject),
                ("allow", Underscores::Allow),
            ],
        ),
    }
}

const PREFIX: &str = "/_crossfade";

/// Fields of an answer where the file says nothing else.
pub(crate) const RESPONSE_HEADERS: usize = 200;

/// Memory that a topic is taken to need where nothing says how many there may be, and how few that never makes.
const TOPIC_BYTES: usize = 16 << 10;
const FEWEST_TOPICS: usize = 10_000;

fn limits(table: &Table<'_>) -> Limits {
    let memory = table.size("memory", "256MiB");
    let by_memory = (memory / TOPIC_BYTES).max(FEWEST_TOPICS);
    Limits {
        connections: table.integer("connections", 10_000, 1..=units::MANY),
        connections_per_ip: table.optional_integer("connections_per_ip", 1..=units::MANY),
        handshakes: table.text("handshakes", rate_limit::rate),
        header_bytes: table.size("header_bytes", "32KiB"),
        headers: table.integer("headers", 100, 1..=10_000),
        response_headers: table.integer("response_headers", RESPONSE_HEADERS, 1..=10_000),
        header_timeout: table.duration("header_timeout", "10s"),
        body_idle_timeout: table.text_or("body_idle_timeout", "30s", units::duration_or_none),
        body_min_rate: table.text_or("body_min_rate", "100B/s", units::byte_rate),
        memory,
        topics: table
            .optional_integer("topics", 1..=units::MANY)
            .unwrap_or(by_memory),
        topics_per_principal: table.integer("topics_per_principal", 1_000, 1..=units::MANY),
    }
}

fn proxy_protocol(table: &Table<'_>) -> ProxyProtocol {
    let words = [
        ("off", ProxyProtocol::Off),
        ("optional", ProxyProtocol::Optional),
        ("require", ProxyProtocol::Require),
    ];
    table.word("proxy_protocol", words)
}

fn listeners(table: &Table<'_>) -> Vec<Listen> {
    let node = table.node("listen");
    table.note("listen", node, json!("127.0.0.1:8080"));
    let Some(node) = node else {
        return listen("127.0.0.1:8080").into_iter().collect();
    };
    let listeners = match node.form {
        NodeForm::List(_) => scalar::texts(table.desk, node, listen),
        _ => scalar::text(table.desk, node, listen).into_iter().collect(),
    };
    table.refuse_empty("listen", "\"127.0.0.1:8080\"");
    listeners
}

/// `host:port` or `unix:/path`. Names are not resolved here, `localhost` is 127.0.0.1.
pub(super) fn listen(text: &str) -> Result<Listen, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.starts_with('/') {
            true => Ok(Listen::Unix(path.into())),
            false => Err(Wrong::new("names no absolute path", "write `unix:/path`")),
        };
    }
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    numeric.parse().map(Listen::Tcp).map_err(|_| {
        let port = text.rsplit(':').next().unwrap_or_default();
        let fix = match port.parse::<u16>() {
            Ok(port) => format!("write an IP address and a port: \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for all"),
            Err(_) => "write an IP address and a port such as \"127.0.0.1:8080\", or \"unix:/path\"".to_owned(),
        };
        Wrong::new("is no address to listen on", fix)
    })
}

fn public_url(text: &str) -> Result<String, Wrong> {
    let bare = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    address::origin(&bare)?;
    Ok(bare)
}

fn prefix(text: &str) -> Result<String, Wrong> {
    let bare = text.strip_suffix('/').unwrap_or(text);
    if bare.is_empty() || bare.contains(['{', '}']) {
        return Err(Wrong::new(
            "is no prefix",
            format!("write a path such as \"{PREFIX}\""),
        ));
    }
    path_template::path(bare)
}

/// The standard library reads the address: ipnet takes `010.0.0.1` as well. An IPv4-mapped block counts as IPv4.
fn network(text: &str) -> Result<IpNet, Wrong> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let block = || {
        let address: IpAddr = address.parse().ok()?;
        let plain = address.to_canonical();
        let (width, wanted) = (max_bits(address), max_bits(plain));
        let bits = bits.map_or(Some(width), |bits| bits.parse().ok())?;
        IpNet::new(plain, bits.checked_sub(width - wanted)?).ok()
    };
    block().ok_or(Wrong::new(
        "is no address block",
        "write one such as \"10.0.0.0/8\" or \"192.0.2.7\"",
    ))
}

fn max_bits(address: IpAddr) -> u8 {
    IpNet::from(address).max_prefix_len()
}

fn state_dir(table: &Table<'_>) -> Option<PathBuf> {
    if table.says("state_dir") {
        return table.text("state_dir", units::something).map(PathBuf::from);
    }
    table.node("state_dir");
    // systemd separates several directories by colons; the first is ours.
    let given = (table.desk.world.env)("STATE_DIRECTORY").unwrap_or_default();
    let first = given.split(':').next().filter(|path| !path.is_empty());
    let source = first.map_or("default", |_| "env:STATE_DIRECTORY");
    table.desk.note(ConfigValue {
        key: table.path("state_dir"),
        value: json!(first),
        source: source.to_owned(),
    });
    first.map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_its_addresses() {
        let holds = |block: &str, ip: &str| {
            let ip: IpAddr = ip.parse().expect(ip);
            network(block).expect(block).contains(&ip.to_canonical())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("0.0.0.0/0", "203.0.113.9"));
        assert!(!holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("192.0.2.7", "::ffff:192.0.2.7"));
        assert!(holds("::ffff:192.0.2.7", "192.0.2.7"));
        assert!(holds("::ffff:10.0.0.0/104", "10.255.0.1"));
        assert!(!holds("::ffff:10.0.0.0/104", "11.0.0.1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1"));
        assert!(!holds("2001:db8::/32", "2001:db9::1"));
        for broken in [
            "10.0.0.0/33",
            "10.0.0/8",
            "",
            "a/8",
            "::/129",
            "1.2.3.4/-1",
            "010.0.0.1",
            "10.0.0.0/8/8",
        ] {
            assert!(network(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn listens_on_addresses_and_sockets() {
        let tcp = |text: &str| listen(text).expect(text);
        assert_eq!(tcp("localhost:80"), tcp("127.0.0.1:80"));
        assert_eq!(tcp("unix:/run/x"), Listen::Unix("/run/x".into()));
        assert!(matches!(tcp("[::1]:0"), Listen::Tcp(_)));
        for broken in [
            ":8080",
            "8080",
            "example.com:80",
            "unix:",
            "unix:x",
            "127.0.0.1:99999",
        ] {
            assert!(listen(broken).is_err(), "{broken}");
        }
        let fix = listen(":8080").expect_err("no host").fix;
        assert!(fix.contains("\"0.0.0.0:8080\""), "{fix}");
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret("hunter2".to_owned())), "***");
    }
}
