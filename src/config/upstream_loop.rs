//! Servers of an upstream that are crossfade itself, as far as that is known without asking the network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::admin::Admin;
use super::metrics::Metrics;
use super::parser::address;
use super::parser::table::Table;
use super::parser::tree::{Node, NodeForm};
use super::server::{Listen, Server};
use super::upstream::{self, Authority};

/// Refuses them, by what the file says.
pub(super) fn judge(root: &Table<'_>, server: &Server, admin: &Admin, metrics: &Metrics) {
    let metrics = metrics.listen.map(Listen::Tcp);
    let named = [
        ("server.listen", server.listen.as_slice()),
        ("admin.listen", std::slice::from_ref(&admin.listen)),
        ("metrics.listen", metrics.as_slice()),
    ];
    let Some(NodeForm::Table(upstreams)) = root.peek("upstream").map(|entry| &entry.node.form)
    else {
        return;
    };
    for (name, upstream) in upstreams {
        let NodeForm::Table(keys) = &upstream.node.form else {
            continue;
        };
        let Some(NodeForm::List(servers)) = keys.get("servers").map(|entry| &entry.node.form)
        else {
            continue;
        };
        for node in servers {
            let Some(Ok(authority)) = node.text().map(upstream::server) else {
                continue;
            };
            let is_there = |listen: &&Listen| leads_to(&authority, listen, &Machine::HERE);
            let found = named
                .iter()
                .find_map(|(key, all)| Some((*key, all.iter().find(is_there)?)));
            let key = format!("upstream.{name}.servers");
            match found {
                Some((listener, listen)) => refuse(root, node, &key, listener, listen),
                None if is_public(&authority, server) => root.desk.warning(
                    node.span.start,
                    &key,
                    "is `server.public_url`: where that leads to crossfade, every request would come back to it",
                    "write the backend's own address",
                ),
                None => {}
            }
        }
    }
}

fn refuse(root: &Table<'_>, node: &Node, key: &str, listener: &str, listen: &Listen) {
    let at = match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => path.display().to_string(),
    };
    let harm = match listener {
        "server.listen" => "every request would come back to it",
        _ => "every client would get what only operators may see",
    };
    let what = format!("is crossfade itself, which listens on {at} (`{listener}`): {harm}");
    let fix = format!("write the backend's own address, or another port in `{listener}`");
    root.desk.error(node.span.start, key, what, fix);
}

/// Whether browsers name this sidecar so.
fn is_public(authority: &Authority, server: &Server) -> bool {
    let public = server.public_url.as_deref();
    let Some(Ok(origin)) = public.map(address::origin) else {
        return false;
    };
    (origin.scheme == "https") == authority.is_https
        && origin.host == authority.host()
        && origin.port == authority.port()
}

/// What a machine knows of itself.
struct Machine {
    /// Lines of addresses and their names.
    hosts: fn() -> String,
    /// Its own name.
    name: fn() -> String,
    /// Whether an address is its own.
    has: fn(IpAddr) -> bool,
}

impl Machine {
    const HERE: Machine = Machine {
        hosts: || {
            let text = std::fs::read("/etc/hosts").unwrap_or_default();
            // A comment may be in an encoding of before UTF-8.
            String::from_utf8_lossy(&text).into_owned()
        },
        name: || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
        has: is_local,
    };

    /// What a host's name stands for without asking the network.
    fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let bare = host.trim_matches(['[', ']']);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return vec![ip.to_canonical()];
        }
        if host == "localhost" || host.ends_with(".localhost") {
            return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        let hosts = (self.hosts)();
        let lines = hosts
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default());
        let found = lines.filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let ip: IpAddr = words.next()?.parse().ok()?;
            words
                .any(|name| name.eq_ignore_ascii_case(host))
                .then(|| ip.to_canonical())
        });
        found.collect()
    }
}

/// Whether connections to this server reach this listener.
fn leads_to(authority: &Authority, listen: &Listen, machine: &Machine) -> bool {
    let listener = match (listen, authority.socket()) {
        (Listen::Unix(path), socket) => return socket == Some(path),
        (Listen::Tcp(_), Some(_)) => return false,
        (Listen::Tcp(listener), None) => listener,
    };
    if listener.port() == 0 || listener.port() != authority.port() {
        return false;
    }
    let host = authority.host();
    let is_taken = |ip: &IpAddr| is_taken(*ip, listener, machine);
    machine.addresses(host).iter().any(is_taken)
        || listener.ip().is_unspecified() && host.eq_ignore_ascii_case((machine.name)().trim())
}

fn is_taken(ip: IpAddr, listener: &SocketAddr, machine: &Machine) -> bool {
    // The system takes the address of no machine for its own.
    let ip = match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    match listener.ip().to_canonical() {
        all if all.is_unspecified() => {
            // A listener on all IPv6 addresses takes IPv4 too.
            (ip.is_ipv4() || all.is_ipv6()) && (ip.is_loopback() || (machine.has)(ip))
        }
        one => one == ip,
    }
}

/// By the way that the system would take there; nothing is sent.
fn is_local(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        // Any port: a datagram's socket is connected to nothing by this.
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::super::server;
    use super::*;

    const MACHINE: Machine = Machine {
        hosts: || {
            "127.0.0.1 localhost\n192.0.2.7 Web.example web # this one\n192.0.2.8 db\nx y"
                .to_owned()
        },
        name: || "sidecar-7\n".to_owned(),
        has: |ip| {
            ip == IpAddr::from([192, 0, 2, 7]) || ip == "2001:db8::7".parse::<IpAddr>().unwrap()
        },
    };

    fn leads(server: &str, listen: &str) -> bool {
        let authority = upstream::server(server).expect(server);
        leads_to(&authority, &server::listen(listen).expect(listen), &MACHINE)
    }

    #[test]
    fn a_server_that_a_listener_answers_is_found() {
        for (server, listen) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("https://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://localhost:8080", "127.0.0.1:8080"),
            ("http://LOCALHOST:8080", "[::1]:8080"),
            ("http://app.localhost:8080", "0.0.0.0:8080"),
            ("http://0.0.0.0:8080", "127.0.0.1:8080"),
            ("http://[::]:8080", "[::1]:8080"),
            ("http://127.0.0.9:8080", "0.0.0.0:8080"),
            ("http://127.0.0.1:8080", "[::]:8080"),
            ("http://[::ffff:127.0.0.1]:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::]:8080"),
            ("http://192.0.2.7:8080", "0.0.0.0:8080"),
            ("http://[2001:db8::7]:8080", "[::]:8080"),
            ("http://web:8080", "192.0.2.7:8080"),
            ("http://WEB.EXAMPLE:8080", "0.0.0.0:8080"),
            ("http://sidecar-7:8080", "[::]:8080"),
            ("http://localhost", "0.0.0.0:80"),
            ("https://localhost", "0.0.0.0:443"),
        ] {
            assert!(leads(server, listen), "{server} at {listen}");
        }
    }

    #[test]
    fn a_server_of_another_place_is_none() {
        for (server, listen) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8080"),
            ("http://127.0.0.2:8080", "127.0.0.1:8080"),
            ("http://192.0.2.8:8080", "0.0.0.0:8080"),
            ("http://db:8080", "0.0.0.0:8080"),
            ("http://[::1]:8080", "0.0.0.0:8080"),
            ("http://127.0.0.1:8080", "[::1]:8080"),
            ("http://app:8080", "0.0.0.0:8080"),
            ("http://sidecar-7:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080", "unix:/run/x"),
            ("http://localhost", "127.0.0.1:0"),
        ] {
            assert!(!leads(server, listen), "{server} at {listen}");
        }
    }

    #[test]
    fn an_address_of_this_machine_is_told_from_others() {
        assert!(is_local(Ipv4Addr::LOCALHOST.into()));
        // Documentation's: no machine has it.
        assert!(!is_local([203, 0, 113, 77].into()));
    }
}
