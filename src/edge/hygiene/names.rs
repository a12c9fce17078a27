//! Field names that a backend may take for others: CGI and WSGI fold `-`, `_` (some also `.`) into one.

use hyper::HeaderMap;
use hyper::header::HeaderName;

use super::Fault;
use crate::config::Underscores;

/// Names that only a proxy may set, besides everything that begins with `x-forwarded-`.
const FORWARDED: [&str; 2] = ["forwarded", "x-real-ip"];

/// Names whose aliases never go upstream, whatever the configuration says: framing and routing.
const PRECIOUS: [&str; 8] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "upgrade",
    "cookie",
    "authorization",
];

/// Whether the name is one of the forwarded names or may pass for one.
pub fn is_forwarded(name: &str) -> bool {
    let folded = fold(name);
    folded.starts_with("x-forwarded-") || FORWARDED.contains(&folded.as_str())
}

/// Whether the name is, or may pass for, one about framing, routing or identity: such a field has
/// no business in a trailer.
pub fn is_precious(name: &str) -> bool {
    PRECIOUS.contains(&fold(name).as_str())
}

/// Removes names with `_` or `.` as `policy` says; aliases of forwarded and precious names always.
///
/// # Errors
/// [`Fault::AmbiguousName`] where the policy is to reject.
pub fn disambiguate(headers: &mut HeaderMap, policy: Underscores) -> Result<(), Fault> {
    let ambiguous: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_ambiguous(name.as_str()))
        .cloned()
        .collect();
    if policy == Underscores::Reject && !ambiguous.is_empty() {
        return Err(Fault::AmbiguousName);
    }
    for name in ambiguous {
        let keep = policy == Underscores::Allow
            && !is_forwarded(name.as_str())
            && !is_precious(name.as_str());
        if !keep {
            headers.remove(name);
        }
    }
    Ok(())
}

fn is_ambiguous(name: &str) -> bool {
    name.bytes().any(|byte| matches!(byte, b'_' | b'.'))
}

fn fold(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(policy: Underscores, names: &[&'static str]) -> Result<Vec<String>, Fault> {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.insert(*name, "1".parse().unwrap());
        }
        disambiguate(&mut headers, policy)?;
        let mut left: Vec<String> = headers.keys().map(|name| name.to_string()).collect();
        left.sort();
        Ok(left)
    }

    const ALIASES: [&str; 8] = [
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
            Err(Fault::AmbiguousName)
        );
        assert_eq!(left(Underscores::Reject, &["x-mine"]).unwrap(), ["x-mine"]);
        let names: Vec<_> = ALIASES.into_iter().chain(["x_mine"]).collect();
        let kept = left(Underscores::Allow, &names).unwrap();
        assert_eq!(kept, ["cookie.", "x_mine"]);
    }

    #[test]
    fn forwarded_names_are_known_in_every_spelling() {
        for name in [
            "X-Forwarded-Prefix",
            "x_forwarded.for",
            "Forwarded",
            "X_Real-IP",
        ] {
            assert!(is_forwarded(name), "{name}");
        }
        for name in ["x-forward", "forwarded-by", "x-real-ip2", "x-request-id"] {
            assert!(!is_forwarded(name), "{name}");
        }
    }
}
