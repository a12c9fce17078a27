//! Answers that name the backend's own address, where the backend does not know the public one: under a fixed `host`.

use hyper::HeaderMap;
use hyper::header::{CONTENT_LOCATION, HeaderValue, LOCATION};

use super::context::RequestContext;
use crate::config::Upstream;
use crate::http::host::Host;

/// Lets `Location` and `Content-Location` name the public address in place of the upstream's own.
pub(crate) fn rewrite(headers: &mut HeaderMap, upstream: &Upstream, exchange: &RequestContext) {
    if upstream.host.is_none() {
        return;
    }
    for name in [LOCATION, CONTENT_LOCATION] {
        let rewritten = headers.get(&name).and_then(|value| {
            let behind = behind_own(value.to_str().ok()?, upstream)?;
            HeaderValue::try_from(public(exchange) + behind).ok()
        });
        if let Some(value) = rewritten {
            headers.insert(name, value);
        }
    }
}

/// Scheme, host and port that clients use; nothing where they named none: then the path says it.
fn public(exchange: &RequestContext) -> String {
    let client = &exchange.client;
    match &exchange.in_force.config.server.public_url {
        Some(public) => public.clone(),
        None if client.host.value.is_empty() => String::new(),
        None => {
            let host = client.host.value.to_str().unwrap_or_default();
            format!("{}://{host}", client.proto)
        }
    }
}

/// What stands behind the authority of a URL, where that is the fixed host or one of the servers.
fn behind_own<'u>(url: &'u str, upstream: &Upstream) -> Option<&'u str> {
    let (scheme, rest) = url.split_once("//")?;
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(&*scheme, "" | "http:" | "https:") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let named = place(&HeaderValue::from_str(authority).ok()?, &scheme)?;
    let fixed = upstream.host.as_ref().and_then(|host| place(host, &scheme));
    let mut servers = upstream.servers.iter();
    let is_own = fixed.as_ref() == Some(&named)
        || servers.any(|server| (server.host(), server.port()) == (&*named.0, named.1));
    is_own.then_some(behind)
}

/// A host and its port in a URL of this scheme.
fn place(authority: &HeaderValue, scheme: &str) -> Option<(String, u16)> {
    let Host { name, port, .. } = Host::parse(authority)?;
    let default = if scheme == "https:" { 443 } else { 80 };
    Some((name, port.unwrap_or(default)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Authority;

    fn upstream() -> Upstream {
        let loaded = crate::config::parse(
            "[upstream.app]\nservers = [\"http://10.0.0.7:5000\"]\nhost = \"app.internal\"\n",
            "proxy.toml",
            &|_| None,
            &|_| Err(std::io::ErrorKind::NotFound.into()),
        );
        let upstreams = loaded.expect("valid").config.upstreams;
        let upstream = upstreams["app"].as_ref().clone();
        let address = "10.0.0.7:5000".to_owned();
        assert_eq!(
            upstream.servers,
            [Authority {
                address,
                is_https: false
            }]
        );
        upstream
    }

    #[test]
    fn only_a_url_of_the_upstreams_own_is_another() {
        let upstream = upstream();
        for (url, behind) in [
            (
                "http://app.internal/login?next=%2F#top",
                Some("/login?next=%2F#top"),
            ),
            ("HTTPS://App.Internal/", Some("/")),
            ("http://app.internal:80", Some("")),
            ("http://app.internal?x", Some("?x")),
            ("//app.internal/x", Some("/x")),
            ("http://10.0.0.7:5000/x", Some("/x")),
            ("http://10.0.0.7/x", None),
            ("http://app.internal:8080/x", None),
            ("http://app.internal.example/x", None),
            ("http://user@app.internal/x", None),
            ("http://elsewhere.example//app.internal/x", None),
            ("ftp://app.internal/x", None),
            ("/x//app.internal/x", None),
            ("/login", None),
            ("", None),
        ] {
            assert_eq!(behind_own(url, &upstream), behind, "{url}");
        }
    }
}
