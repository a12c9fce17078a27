//! The client behind proxies, and the forwarding headers that name it to the backend.

mod element;

use std::net::IpAddr;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::header_names;
use super::header_text::Text;
use super::host::Host;
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
    /// Whether what it forwards is trusted.
    pub is_trusted: bool,
    /// Whether it speaks for a client that it does not name.
    pub(crate) is_unnamed: bool,
    /// The scheme of the connection itself: `http`, or `https` over TLS.
    pub(crate) proto: &'static str,
}

impl Peer {
    /// A peer on a unix socket is a proxy of this machine that file permissions let in: trusted. The caller sets the scheme
    /// where the connection is over TLS.
    pub fn new(ip: Option<IpAddr>, trusted: &[IpNet]) -> Self {
        let ip = ip.map(|ip| ip.to_canonical());
        Peer {
            ip,
            is_trusted: ip.is_none_or(|ip| is_in(trusted, ip)),
            is_unnamed: false,
            proto: "http",
        }
    }
}

/// What is believed of a request's way here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedClient {
    /// The client's address in plain text form; `unix` where none is known.
    pub ip: Text,
    /// The address that distinguishes this client from others. `None` where no proxy named one: the proxy's own address stands for all
    /// of its clients.
    pub(crate) address: Option<IpAddr>,
    /// The host that the client asked for.
    pub(crate) host: Host,
    /// The scheme that the client used.
    pub(crate) proto: &'static str,
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
    trusted: &[IpNet],
) -> ForwardedClient {
    if !peer.is_trusted {
        return ForwardedClient {
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
    ForwardedClient {
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
fn nearest(hops: &[Option<IpAddr>], trusted: &[IpNet]) -> Option<usize> {
    let readable = hops.iter().enumerate().rev();
    let readable = readable.map_while(|(at, hop)| Some((at, (*hop)?)));
    let mut last = None;
    for (at, hop) in readable {
        last = Some(at);
        if !is_in(trusted, hop) {
            break;
        }
    }
    last
}

/// Whether one of the blocks holds this address; an IPv4-mapped address counts as IPv4.
fn is_in(blocks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    blocks.iter().any(|block| block.contains(&address))
}

/// Whether a peer outside `trusted_proxies` names the client that it forwards for.
pub(crate) fn is_disbelieved(headers: &HeaderMap, peer: Peer) -> bool {
    let says = || headers.contains_key(FOR) || headers.contains_key(FORWARDED);
    !peer.is_trusted && !peer.is_unnamed && says()
}

/// Writes the forwarded fields for the backend: anew, unless the peer is trusted; then what it
/// sent stays and the peer is appended. `own` is the peer's address as [`text`].
pub fn rebuild(headers: &mut HeaderMap, peer: Peer, own: &Text, client: &ForwardedClient) {
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
    // Proxies that send `X-Forwarded-For` let their client's own `X-Real-IP` pass.
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
fn asked(headers: &HeaderMap, client: &ForwardedClient) -> String {
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
mod tests;
