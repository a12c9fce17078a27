//! Field names that a backend may take for others. CGI and what follows it (WSGI, Rack, PHP) fold `-` into `_`, some of them
//! every byte that is no letter and no digit.

use hyper::HeaderMap;
use hyper::header::HeaderName;

use super::RequestViolation;
use crate::config::Underscores;

/// Names that only a proxy may set, besides everything that begins with `x-forwarded-`. The last
/// two replace the path in some frameworks: the one decided upon here would not be the one served.
const FORWARDED: [&str; 4] = ["forwarded", "x-real-ip", "x-original-url", "x-rewrite-url"];

/// Names about framing, routing and identity. Their aliases never go upstream, whatever the configuration says, and a client
/// cannot remove them by nominating them in `Connection`.
const PRECIOUS: [&str; 11] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "upgrade",
    "cookie",
    "authorization",
    "origin",
    "x-request-id",
    "cdn-loop",
];

/// Whether the name is one of the forwarded names or may pass for one.
pub fn is_forwarded(name: &str) -> bool {
    const PREFIX: &str = "x-forwarded-";
    name.get(..PREFIX.len())
        .is_some_and(|start| folds_to(start, PREFIX))
        || FORWARDED.iter().any(|known| folds_to(name, known))
}

/// Whether the name is, or may pass for, one about framing, routing or identity.
pub(crate) fn is_precious(name: &str) -> bool {
    PRECIOUS.iter().any(|known| folds_to(name, known))
}

/// Removes names of more than letters, digits and `-` as `policy` says; aliases of forwarded and
/// precious names always. Returns which are gone.
///
/// # Errors
/// [`RequestViolation::AmbiguousName`] where the policy is to reject, or where two names that are allowed fold
/// into one: backends differ about which of them counts.
pub fn disambiguate(
    headers: &mut HeaderMap,
    policy: Underscores,
) -> Result<Vec<HeaderName>, RequestViolation> {
    let ambiguous: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_ambiguous(name.as_str()))
        .cloned()
        .collect();
    if policy == Underscores::Reject && !ambiguous.is_empty() {
        return Err(RequestViolation::AmbiguousName);
    }
    let mut dropped = Vec::new();
    for name in ambiguous {
        let keep = policy == Underscores::Allow
            && !is_forwarded(name.as_str())
            && !is_precious(name.as_str());
        if !keep {
            headers.remove(&name);
            dropped.push(name);
        } else if headers
            .keys()
            .any(|other| *other != name && folds_to(name.as_str(), other.as_str()))
        {
            return Err(RequestViolation::AmbiguousName);
        }
    }
    Ok(dropped)
}

/// Removes every field that is, or may pass for, one of these: only crossfade itself sends them upstream.
pub(crate) fn remove_aliases(headers: &mut HeaderMap, names: &[HeaderName]) {
    if names.is_empty() {
        return;
    }
    let is_alias = |name: &&HeaderName| {
        let mut known = names.iter();
        known.any(|known| folds_to(name.as_str(), known.as_str()))
    };
    let aliases: Vec<HeaderName> = headers.keys().filter(is_alias).cloned().collect();
    for name in aliases {
        headers.remove(name);
    }
}

fn is_ambiguous(name: &str) -> bool {
    !name.bytes().all(is_plain)
}

/// Whether a backend may take one name for the other.
fn folds_to(name: &str, other: &str) -> bool {
    let fold = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => byte.to_ascii_lowercase(),
        false => b'-',
    };
    name.len() == other.len() && name.bytes().map(fold).eq(other.bytes().map(fold))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(policy: Underscores, names: &[&'static str]) -> Result<Vec<String>, RequestViolation> {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.insert(*name, "1".parse().unwrap());
        }
        disambiguate(&mut headers, policy)?;
        let mut left: Vec<String> = headers.keys().map(|name| name.to_string()).collect();
        left.sort();
        Ok(left)
    }

    const ALIASES: [&str; 20] = [
        "forwarded_",
        "x!forwarded!for",
        "x-forwarded-for.",
        "x~forwarded~host",
        "x_forwarded_prefix",
        "x.real.ip",
        "x_original_url",
        "x.rewrite-url",
        "x_request.id",
        "content.type",
        "transfer_encoding",
        "_host",
        "x_forwarded_for",
        "x-forwarded_for",
        "x.forwarded.for",
        "x_real_ip",
        "x_forwarded-proto",
        "content_length",
        "transfer.encoding",
        "cookie.",
    ];

    #[test]
    fn by_default_no_ambiguous_name_goes_upstream() {
        let names: Vec<_> = ALIASES.into_iter().chain(["x_mine", "x-plain"]).collect();
        assert_eq!(left(Underscores::Drop, &names).unwrap(), ["x-plain"]);
    }

    #[test]
    fn reject_refuses_and_allow_keeps_what_passes_for_nothing() {
        assert_eq!(
            left(Underscores::Reject, &["x_mine"]),
            Err(RequestViolation::AmbiguousName)
        );
        assert_eq!(left(Underscores::Reject, &["x-mine"]).unwrap(), ["x-mine"]);
        let names: Vec<_> = ALIASES.into_iter().chain(["x_mine"]).collect();
        let kept = left(Underscores::Allow, &names).unwrap();
        assert_eq!(kept, ["_host", "cookie.", "forwarded_", "x_mine"]);
    }

    #[test]
    fn names_that_fold_into_one_are_refused_where_they_are_allowed() {
        for names in [
            &["x_user", "x-user"][..],
            &["x-user", "x.user"],
            &["x_user", "x.user"],
            &["x!user", "x_user", "x-other"],
        ] {
            let both = left(Underscores::Allow, names);
            assert_eq!(both, Err(RequestViolation::AmbiguousName), "{names:?}");
        }
        assert!(left(Underscores::Allow, &["x_user", "x_user2"]).is_ok());
        let dropped = left(Underscores::Drop, &["x_user", "x.user", "x-user"]);
        assert_eq!(dropped.unwrap(), ["x-user"]);
    }

    #[test]
    fn no_client_sends_what_passes_for_an_identity() {
        let identity = [
            HeaderName::from_static("x-user"),
            HeaderName::from_static("x-roles"),
        ];
        let mut headers = HeaderMap::new();
        for name in [
            "x-user",
            "x_user",
            "x.user",
            "x!user",
            "x-roles",
            "x_roles",
            "x-user-agent",
            "xuser",
        ] {
            headers.append(name, "admin".parse().unwrap());
            headers.append(name, "again".parse().unwrap());
        }
        remove_aliases(&mut headers, &identity);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort();
        assert_eq!(left, ["x-user-agent", "xuser"]);
    }

    #[test]
    fn forwarded_names_are_known_in_every_spelling() {
        for name in [
            "X-Forwarded-Prefix",
            "x_forwarded.for",
            "Forwarded",
            "X_Real-IP",
            "x-original-url",
            "X*Forwarded*Proto",
        ] {
            assert!(is_forwarded(name), "{name}");
        }
        for name in [
            "x-forward",
            "forwarded-by",
            "x-real-ip2",
            "x-request-id",
            "x-forwarded",
        ] {
            assert!(!is_forwarded(name), "{name}");
        }
    }
}
