//! The client behind proxies, and the forwarding headers that name it to the backend.

mod element;

use std::net::IpAddr;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName, HeaderValue};

use super::header_names;
use super::header_text::Text;
use super::host::Host;
use crate::config::Network;
use element::Element;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The other end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; `None` on a unix socket.
    pub ip: Option<IpAddr>,
    /// Whether what it forwards is believed.
    pub is_trusted: bool,
    /// Whether it speaks for a client that it does not name.
    pub is_unnamed: bool,
    /// The scheme of the connection itself: `http`, or `https` over TLS.
    pub proto: &'static str,
}

impl Peer {
    /// A peer on a unix socket is a proxy of this machine that file permissions let in: trusted. The caller sets the scheme
    /// where the connection is over TLS.
    pub fn new(ip: Option<IpAddr>, trusted: &[Network]) -> Self {
        let is_trusted = ip.is_none_or(|ip| trusted.iter().any(|network| network.contains(ip)));
        Peer {
            ip: ip.map(|ip| ip.to_canonical()),
            is_trusted,
            is_unnamed: false,
            proto: "http",
        }
    }
}

/// What is believed of a request's way here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address in plain text form; `unix` where none is known.
    pub ip: Text,
    /// The address that tells this client from others. `None` where no proxy named one: the proxy's own address stands for all
    /// of its clients.
    pub address: Option<IpAddr>,
    /// The host that the client asked for.
    pub host: Host,
    /// The scheme that the client used.
    pub proto: &'static str,
}

/// A peer's address as text, made once for all its requests: `unix` on a unix socket.
pub fn text(ip: Option<IpAddr>) -> Text {
    ip.map_or(Text::fixed("unix"), |ip| ip.to_canonical().into())
}

/// Reads the client's address, host and scheme off the request, believing trusted peers only.
/// `own` is the peer's address as [`text`].
///
/// The address is the right-most one in `X-Forwarded-For` that is no trusted proxy's. `Forwarded` is read where no
/// `X-Forwarded-*` came; its host and scheme are those of the element that names the client: what stands before it, the
/// client may have written.
pub fn client(
    headers: &HeaderMap,
    peer: Peer,
    own: &Text,
    host: &Host,
    trusted: &[Network],
) -> Client {
    if !peer.is_trusted {
        return Client {
            ip: own.clone(),
            address: peer.ip.filter(|_| !peer.is_unnamed),
            host: host.clone(),
            proto: peer.proto,
        };
    }
    let elements = elements(headers);
    let hops: Vec<Option<IpAddr>> = match elements.is_empty() {
        true => super::hop_by_hop::tokens(headers, &FOR)
            .map(address)
            .collect(),
        false => elements.iter().map(|element| element.ip).collect(),
    };
    let nearest = nearest(&hops, trusted);
    let ip = nearest.and_then(|at| hops.get(at).copied().flatten());
    // In a list the proxy nearest to the client wrote first.
    let first = |name: HeaderName| super::hop_by_hop::tokens(headers, &name).next();
    let believed = elements
        .get(nearest.unwrap_or(elements.len().saturating_sub(1))..)
        .unwrap_or_default();
    let told_host = first(HOST)
        .and_then(|host| HeaderValue::from_str(host).ok())
        .and_then(|host| Host::parse(&host))
        .or_else(|| believed.iter().find_map(|element| element.host.clone()));
    let told_proto = first(PROTO)
        .map(|proto| match proto.eq_ignore_ascii_case("https") {
            true => "https",
            false => "http",
        })
        .or_else(|| believed.iter().find_map(|element| element.proto));
    Client {
        ip: ip.map_or_else(|| own.clone(), Text::from),
        address: ip,
        host: told_host.unwrap_or_else(|| host.clone()),
        proto: told_proto.unwrap_or(peer.proto),
    }
}

/// What `Forwarded` says where no `X-Forwarded-*` came: the two may come from different proxies, and are never mixed.
fn elements(headers: &HeaderMap) -> Vec<Element> {
    let is_told = |name: &HeaderName| name.as_str().starts_with("x-forwarded-");
    match headers.contains_key(FORWARDED) && !headers.keys().any(is_told) {
        true => element::read(headers),
        false => Vec::new(),
    }
}

/// Which of these is the client: the right-most that is no trusted proxy's, as far as they can be read from the right; else
/// the left-most of these.
fn nearest(hops: &[Option<IpAddr>], trusted: &[Network]) -> Option<usize> {
    let readable = hops.iter().enumerate().rev();
    let readable = readable.map_while(|(at, hop)| Some((at, (*hop)?)));
    let mut last = None;
    for (at, hop) in readable {
        last = Some(at);
        if !trusted.iter().any(|network| network.contains(hop)) {
            break;
        }
    }
    last
}

/// Whether a peer outside `trusted_proxies` names the client that it forwards for.
pub fn is_disbelieved(headers: &HeaderMap, peer: Peer) -> bool {
    let says = || headers.contains_key(FOR) || headers.contains_key(FORWARDED);
    !peer.is_trusted && !peer.is_unnamed && says()
}

/// Writes the forwarded fields for the backend: anew, unless the peer is trusted; then what it
/// sent stays and the peer is appended. `own` is the peer's address as [`text`].
pub fn rebuild(headers: &mut HeaderMap, peer: Peer, own: &Text, client: &Client) {
    if !peer.is_trusted {
        let foreign: Vec<HeaderName> = headers
            .keys()
            .filter(|name| header_names::is_forwarded(name.as_str()))
            .cloned()
            .collect();
        for name in foreign {
            headers.remove(name);
        }
    }
    let elements = elements(headers);
    if !elements.is_empty() {
        let hops = elements.iter().map(|element| match element.ip {
            Some(ip) => ip.to_string(),
            None => "unknown".to_owned(),
        });
        if let Ok(hops) = HeaderValue::try_from(hops.collect::<Vec<_>>().join(", ")) {
            headers.insert(FOR, hops);
        }
    }
    let told_way = headers.contains_key(FOR);
    let hop = match peer.ip {
        Some(_) => own.clone(),
        None => Text::fixed("unknown"),
    };
    let asked = asked(headers, client);
    append(headers, FOR, hop.value());
    match elements.first() {
        Some(first) if first.agrees(&client.host, client.proto) => {
            append(headers, FORWARDED, element(&hop, &asked));
        }
        _ if told_way => retell(headers, &asked),
        _ => drop(headers.insert(FORWARDED, element(&hop, &asked))),
    }
    let missing = [
        (HOST, client.host.value.clone()),
        (PROTO, HeaderValue::from_static(client.proto)),
    ];
    for (name, value) in missing.into_iter().filter(|(_, value)| !value.is_empty()) {
        headers.entry(name).or_insert(value);
    }
    // Proxies that tell the way by `X-Forwarded-For` let their client's own `X-Real-IP` pass.
    if told_way || !headers.contains_key(REAL_IP) {
        headers.insert(REAL_IP, client.ip.value());
    }
}

/// Makes `Forwarded` say what `X-Forwarded-For` says, and what the client asked for.
fn retell(headers: &mut HeaderMap, asked: &str) {
    let mut elements: Vec<String> = super::hop_by_hop::tokens(headers, &FOR).map(node).collect();
    if let Some(first) = elements.first_mut() {
        first.push_str(asked);
    }
    if let Ok(value) = HeaderValue::try_from(elements.join(", ")) {
        headers.insert(FORWARDED, value);
    }
}

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    plain
        .or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip()))
        .map(|ip| ip.to_canonical())
}

/// One element of `Forwarded` (RFC 7239).
fn element(hop: &str, asked: &str) -> HeaderValue {
    let element = Bytes::from(node(hop) + asked);
    // All parts were values of fields before.
    HeaderValue::from_maybe_shared(element).unwrap_or(HeaderValue::from_static("for=unknown"))
}

fn node(hop: &str) -> String {
    match address(hop) {
        Some(IpAddr::V4(ip)) => format!("for={ip}"),
        Some(IpAddr::V6(ip)) => format!("for=\"[{ip}]\""),
        None => "for=unknown".to_owned(),
    }
}

/// The host and scheme that the client asked for, as parameters of an element, with the port that a proxy forwarded: backends
/// that read `Forwarded` ignore `X-Forwarded-Port`.
fn asked(headers: &HeaderMap, client: &Client) -> String {
    let host = client.host.value.to_str().unwrap_or_default();
    if host.is_empty() {
        return format!(";proto={}", client.proto);
    }
    let told = super::hop_by_hop::tokens(headers, &PORT).next();
    let name = match client.host.port {
        Some(_) => host.rsplit_once(':').map_or(host, |(name, _)| name),
        None => host,
    };
    let host = match (told.and_then(|port| port.parse::<u16>().ok()), client.proto) {
        (None, _) => host.to_owned(),
        (Some(80), "http") | (Some(443), "https") => name.to_owned(),
        (Some(port), _) => format!("{name}:{port}"),
    };
    [";host=\"", &host, "\";proto=", client.proto].concat()
}

/// Appends an item to a comma-separated field, over all its lines.
fn append(headers: &mut HeaderMap, name: HeaderName, item: HeaderValue) {
    let lines = headers.get_all(&name).iter();
    let mut items: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    if items.is_empty() {
        headers.insert(name, item);
        return;
    }
    items.extend(item.to_str().ok());
    if let Ok(value) = HeaderValue::from_str(&items.join(", ")) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> Vec<Network> {
        vec![Network {
            address: "10.0.0.0".parse().unwrap(),
            bits: 8,
        }]
    }

    fn peer(ip: &str) -> Peer {
        Peer::new(Some(ip.parse().unwrap()), &networks())
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn own_host() -> Host {
        Host::parse(&HeaderValue::from_static("app.example:8080")).unwrap()
    }

    fn rebuilt(
        from: &str,
        fields: &[(&'static str, &'static str)],
    ) -> (Client, Vec<(String, String)>) {
        let mut headers = headers(fields);
        let own = text(peer(from).ip);
        let client = client(&headers, peer(from), &own, &own_host(), &networks());
        rebuild(&mut headers, peer(from), &own, &client);
        let mut sent: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        sent.sort();
        (client, sent)
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    const SPOOFED: &[(&str, &str)] = &[
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-prefix", "/admin"),
        ("forwarded", "for=1.2.3.4;host=evil.example"),
        ("x-real-ip", "1.2.3.4"),
        ("x_forwarded_for", "1.2.3.4"),
        ("x-original-url", "/admin"),
        ("x-rewrite-url", "/admin"),
    ];

    #[test]
    fn an_unknown_peer_forwards_nothing() {
        let (client, sent) = rebuilt("192.0.2.7", SPOOFED);
        assert_eq!(&*client.ip, "192.0.2.7");
        assert_eq!(
            (client.host.name.as_str(), client.proto),
            ("app.example", "http")
        );
        let forwarded = "for=192.0.2.7;host=\"app.example:8080\";proto=http";
        assert_eq!(
            sent,
            [
                pair("forwarded", forwarded),
                pair("x-forwarded-for", "192.0.2.7"),
                pair("x-forwarded-host", "app.example:8080"),
                pair("x-forwarded-proto", "http"),
                pair("x-real-ip", "192.0.2.7"),
            ]
        );
    }

    #[test]
    fn proxy_nearest_to_the_client_tells_host_and_scheme() {
        let fields = [
            ("x-forwarded-host", "public.example, inner.example"),
            ("x-forwarded-proto", "HTTPS, http"),
        ];
        let (client, _) = rebuilt("10.0.0.1", &fields);
        assert_eq!(
            (client.host.name.as_str(), client.proto),
            ("public.example", "https")
        );
    }

    #[test]
    fn a_trusted_peer_is_believed_and_appended() {
        let fields = [
            ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
            ("x-forwarded-for", "10.0.0.5"),
            ("x-forwarded-host", "public.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/app"),
            ("x-forwarded-port", "8443"),
            ("forwarded", "for=9.9.9.9;host=other.example;proto=http"),
        ];
        let (client, sent) = rebuilt("10.0.0.1", &fields);
        assert_eq!(
            &*client.ip, "203.0.113.9",
            "right-most that is no proxy of ours"
        );
        assert_eq!(
            (client.host.name.as_str(), client.proto),
            ("public.example", "https")
        );
        let forwarded = "for=6.6.6.6;host=\"public.example:8443\";proto=https, for=203.0.113.9, for=10.0.0.5, for=10.0.0.1";
        assert_eq!(
            sent,
            [
                pair("forwarded", forwarded),
                pair(
                    "x-forwarded-for",
                    "6.6.6.6, 203.0.113.9, 10.0.0.5, 10.0.0.1"
                ),
                pair("x-forwarded-host", "public.example"),
                pair("x-forwarded-port", "8443"),
                pair("x-forwarded-prefix", "/app"),
                pair("x-forwarded-proto", "https"),
                pair("x-real-ip", "203.0.113.9"),
            ]
        );
    }

    #[test]
    fn forwarded_alone_is_read_and_told_both_ways() {
        let told = "for=\"203.0.113.9:1234\";host=public.example;proto=https, for=10.0.0.5";
        let (client, sent) = rebuilt("10.0.0.1", &[("forwarded", told)]);
        assert_eq!(client.address, Some("203.0.113.9".parse().unwrap()));
        assert_eq!(
            (client.host.name.as_str(), client.proto),
            ("public.example", "https")
        );
        let forwarded = format!("{told}, for=10.0.0.1;host=\"public.example\";proto=https");
        assert_eq!(
            sent,
            [
                pair("forwarded", &forwarded),
                pair("x-forwarded-for", "203.0.113.9, 10.0.0.5, 10.0.0.1"),
                pair("x-forwarded-host", "public.example"),
                pair("x-forwarded-proto", "https"),
                pair("x-real-ip", "203.0.113.9"),
            ]
        );
    }

    #[test]
    fn what_a_client_wrote_into_forwarded_is_not_believed() {
        let told = "for=6.6.6.6;host=evil.example;proto=http, for=203.0.113.9;host=public.example;proto=https";
        let (client, sent) = rebuilt("10.0.0.1", &[("forwarded", told)]);
        assert_eq!(
            (&*client.ip, client.host.name.as_str(), client.proto),
            ("203.0.113.9", "public.example", "https")
        );
        let forwarded =
            "for=6.6.6.6;host=\"public.example\";proto=https, for=203.0.113.9, for=10.0.0.1";
        assert_eq!(sent[0], pair("forwarded", forwarded));
        // Not whole, or beside a field of the other kind: nothing of it counts.
        for (other, port) in [
            (("forwarded", "for=\"6.6.6.6"), "8080"),
            (("x-forwarded-port", "8443"), "8443"),
        ] {
            let (client, sent) = rebuilt("10.0.0.1", &[("forwarded", told), other]);
            assert_eq!(
                (client.address, client.host.name.as_str(), client.proto),
                (None, "app.example", "http")
            );
            let forwarded = format!("for=10.0.0.1;host=\"app.example:{port}\";proto=http");
            assert_eq!(sent[0], pair("forwarded", &forwarded));
        }
        let hidden = [(
            "forwarded",
            "for=6.6.6.6;host=evil.example, for=_x;host=public.example",
        )];
        let (client, _) = rebuilt("10.0.0.1", &hidden);
        assert_eq!(
            (client.address, client.host.name.as_str()),
            (None, "public.example")
        );
    }

    #[test]
    fn trusted_peer_that_forwards_vouches_for_no_other_address() {
        let real_ip = |fields: &[(&'static str, &'static str)]| {
            let (_, sent) = rebuilt("10.0.0.1", fields);
            let found = sent.into_iter().find(|(name, _)| name == "x-real-ip");
            found.unwrap().1
        };
        let told = ("x-forwarded-for", "203.0.113.9");
        assert_eq!(real_ip(&[told, ("x-real-ip", "6.6.6.6")]), "203.0.113.9");
        assert_eq!(real_ip(&[("x-real-ip", "203.0.113.9")]), "203.0.113.9");
    }

    #[test]
    fn tls_scheme_is_https_unless_a_trusted_peer_says_other() {
        let over_tls = |from: &str, fields: &[(&'static str, &'static str)]| {
            let peer = Peer {
                proto: "https",
                ..peer(from)
            };
            let own = text(peer.ip);
            client(&headers(fields), peer, &own, &own_host(), &networks()).proto
        };
        let told = [("x-forwarded-proto", "http")];
        assert_eq!(over_tls("192.0.2.7", &told), "https");
        assert_eq!(over_tls("10.0.0.1", &[]), "https");
        assert_eq!(over_tls("10.0.0.1", &told), "http");
    }

    #[test]
    fn a_port_that_a_proxy_tells_is_the_hosts_in_forwarded() {
        for (host, port, expected) in [
            ("shop.example", "8443", "shop.example:8443"),
            ("shop.example:8080", "443", "shop.example"),
            ("shop.example", "443, 80", "shop.example"),
            ("shop.example", "80", "shop.example:80"),
            ("[2001:db8::1]", "8443", "[2001:db8::1]:8443"),
            ("shop.example:8080", "none", "shop.example:8080"),
        ] {
            let fields = [
                ("x-forwarded-host", host),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-port", port),
            ];
            let (_, sent) = rebuilt("10.0.0.1", &fields);
            let forwarded = format!("for=10.0.0.1;host=\"{expected}\";proto=https");
            assert_eq!(sent[0], pair("forwarded", &forwarded), "{host} {port}");
            assert_eq!(sent[3], pair("x-forwarded-port", port));
        }
    }

    #[test]
    fn an_address_left_of_nonsense_is_not_believed() {
        let fields = [("x-forwarded-for", "6.6.6.6, nonsense, 10.0.0.9")];
        assert_eq!(&*rebuilt("10.0.0.1", &fields).0.ip, "10.0.0.9");
        let fields = [("x-forwarded-for", "[2001:db8::1]:443")];
        assert_eq!(&*rebuilt("10.0.0.1", &fields).0.ip, "2001:db8::1");
        assert_eq!(&*rebuilt("10.0.0.1", &[]).0.ip, "10.0.0.1");
    }

    #[test]
    fn a_proxys_own_address_tells_no_client_from_another() {
        let address = |from: Peer, fields: &[(&'static str, &'static str)]| {
            let own = text(from.ip);
            client(&headers(fields), from, &own, &own_host(), &networks()).address
        };
        let told = [("x-forwarded-for", "203.0.113.9")];
        let is = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(address(peer("10.0.0.1"), &told), is("203.0.113.9"));
        assert_eq!(address(peer("192.0.2.7"), &told), is("192.0.2.7"));
        let unix = Peer::new(None, &[]);
        assert_eq!(address(unix, &told), is("203.0.113.9"));
        for silent in [&[][..], &[("x-forwarded-for", "unknown")]] {
            assert_eq!(address(peer("10.0.0.1"), silent), None);
            assert_eq!(address(unix, silent), None);
        }
        let unnamed = Peer {
            is_trusted: false,
            is_unnamed: true,
            ..peer("10.0.0.1")
        };
        assert_eq!(address(unnamed, &told), None);
    }

    #[test]
    fn a_mapped_address_is_the_one_it_maps() {
        assert_eq!(&*rebuilt("::ffff:192.0.2.7", &[]).0.ip, "192.0.2.7");
        assert!(peer("::ffff:10.1.1.1").is_trusted);
        assert!(Peer::new(None, &[]).is_trusted, "a unix socket");
    }
}
