//! From a name to addresses, and how long they hold.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, fs, io};

use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};

/// The files that say how names are looked up; they are read again when they change.
const SYSTEM: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// How long one try at one server may take, and how many there are.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;

/// How long addresses of the other family are waited for when those of one are there (RFC 8305, section 3).
const OTHER_FAMILY: Duration = Duration::from_millis(50);

/// Where names are looked up. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Source>);

enum Source {
    /// As the system says.
    System(Mutex<Option<(Option<SystemTime>, TokioResolver)>>),
    /// At one server.
    Server(TokioResolver),
}

/// What a name leads to.
pub(crate) struct Resolved {
    /// At least one.
    pub(crate) addresses: Vec<IpAddr>,
    /// How long that holds.
    pub(crate) ttl: Duration,
}

impl Resolver {
    /// Looks names up as the system is configured: its hosts file, then its name servers.
    pub(crate) fn system() -> Self {
        Resolver(Arc::new(Source::System(Mutex::default())))
    }

    /// Asks one name server by UDP, and nothing else.
    ///
    /// # Errors
    /// Where the library cannot be set up.
    pub fn asking(server: SocketAddr) -> Result<Self, String> {
        let mut connection = ConnectionConfig::udp();
        connection.port = server.port();
        let server = NameServerConfig::new(server.ip(), true, vec![connection]);
        let config = ResolverConfig::from_name_servers(vec![server]);
        let resolver = build(config, ResolverOpts::default()).map_err(|error| error.to_string())?;
        Ok(Resolver(Arc::new(Source::Server(resolver))))
    }

    /// Asks for a host's addresses, of both families.
    pub(crate) async fn look_up(&self, host: &str) -> Result<Resolved, String> {
        let name = Name::from_str(host).map_err(|error| error.to_string())?;
        let resolver = match &*self.0 {
            Source::Server(resolver) => resolver.clone(),
            Source::System(kept) => {
                let known = name.clone();
                let hosts = tokio::task::spawn_blocking(move || in_hosts_file(HOSTS, &known)).await;
                if let Ok(Some(found)) = hosts {
                    return Ok(found);
                }
                current(kept)?
            }
        };
        // The caller keeps what it found for as long as it holds; it asks for news.
        resolver.clear_cache();
        ask(&resolver, &name).await
    }
}

async fn ask(resolver: &TokioResolver, name: &Name) -> Result<Resolved, String> {
    let mut asking: FuturesUnordered<_> = [RecordType::AAAA, RecordType::A]
        .map(|kind| resolver.lookup(name.clone(), kind))
        .into_iter()
        .collect();
    let mut found: Option<(Vec<IpAddr>, Instant)> = None;
    let mut failed = None;
    loop {
        tokio::select! {
            biased;
            answer = asking.next() => match answer {
                None => break,
                Some(Err(error)) => failed = Some(error.to_string()),
                Some(Ok(answer)) => {
                    let more = answer.answers().iter().filter_map(|record| record.data.ip_addr());
                    let (addresses, until) =
                        found.get_or_insert_with(|| (Vec::new(), answer.valid_until()));
                    addresses.extend(more);
                    *until = answer.valid_until().min(*until);
                }
            },
            () = tokio::time::sleep(OTHER_FAMILY), if found.is_some() => break,
        }
    }
    match found {
        Some((addresses, until)) if !addresses.is_empty() => Ok(Resolved {
            addresses,
            ttl: until.saturating_duration_since(Instant::now()),
        }),
        _ => Err(failed.unwrap_or_else(|| "it has no address".to_owned())),
    }
}

/// A name that the hosts file knows is looked up nowhere else, whichever family it has there.
fn in_hosts_file(path: &str, name: &Name) -> Option<Resolved> {
    let mut hosts = Hosts::default();
    hosts.read_hosts_conf(&*text_of(path).ok()?).ok()?;
    let addresses: Vec<IpAddr> = [RecordType::AAAA, RecordType::A]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
        .flat_map(|found| {
            let records = found.answers().to_vec();
            records
                .into_iter()
                .filter_map(|record| record.data.ip_addr())
        })
        .collect();
    (!addresses.is_empty()).then_some(Resolved {
        addresses,
        ttl: Duration::ZERO,
    })
}

/// A file's text; a comment may be in an encoding of before UTF-8.
fn text_of(path: &str) -> io::Result<Vec<u8>> {
    let text = fs::read(path)?;
    Ok(String::from_utf8_lossy(&text).into_owned().into_bytes())
}

/// The system's resolver as its file says now.
fn current(
    kept: &Mutex<Option<(Option<SystemTime>, TokioResolver)>>,
) -> Result<TokioResolver, String> {
    let changed = fs::metadata(SYSTEM).and_then(|file| file.modified()).ok();
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((since, resolver)) = &*kept
        && *since == changed
    {
        return Ok(resolver.clone());
    }
    let told = |error: &dyn fmt::Display| format!("{SYSTEM}: {error}");
    let text = text_of(SYSTEM).map_err(|error| told(&error))?;
    let resolver = parse_resolv_conf(text)
        .and_then(|(config, options)| build(config, options))
        .map_err(|error| told(&error))?;
    *kept = Some((changed, resolver.clone()));
    Ok(resolver)
}

fn build(config: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, NetError> {
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = options.timeout.min(PATIENCE);
    options.attempts = options.attempts.min(ATTEMPTS);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_in_another_encoding_hides_no_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        fs::write(path, b"10.0.0.7 app # caf\xe9\n# caf\xe9\n10.0.0.8 other\n").unwrap();
        for (name, ip) in [("app", "10.0.0.7"), ("other", "10.0.0.8")] {
            let found = in_hosts_file(path, &Name::from_str(name).unwrap());
            assert_eq!(found.unwrap().addresses, [ip.parse::<IpAddr>().unwrap()]);
        }
        fs::write(path, b"nameserver 10.0.0.9 # caf\xe9\n").unwrap();
        let (config, _) = parse_resolv_conf(text_of(path).unwrap()).unwrap();
        let servers: Vec<_> = config
            .name_servers()
            .iter()
            .map(|server| server.ip)
            .collect();
        assert_eq!(servers, ["10.0.0.9".parse::<IpAddr>().unwrap()]);
    }
}
