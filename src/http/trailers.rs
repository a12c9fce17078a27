//! Fields behind a body, under the rules of those before it.

use hyper::HeaderMap;
use hyper::header::HeaderName;

use super::{RequestViolation, header_names, hop_by_hop};
use crate::config::Underscores;

/// Names that mean nothing behind a body, or too much: what they say had to be known before it
/// (RFC 9110, section 6.5.1), besides the forwarded and the precious ones.
const MISPLACED: [&str; 21] = [
    "age",
    "cache-control",
    "content-encoding",
    "content-range",
    "expect",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "vary",
    "www-authenticate",
];

/// Cleans the trailers of a request; `taken` are the names that only crossfade may send.
///
/// # Errors
/// [`RequestViolation::AmbiguousName`] where `policy` says so.
pub(crate) fn upward(
    trailers: &mut HeaderMap,
    policy: Underscores,
    taken: &[HeaderName],
) -> Result<(), RequestViolation> {
    header_names::remove_aliases(trailers, taken);
    header_names::disambiguate(trailers, policy)?;
    downward(trailers);
    Ok(())
}

/// Cleans the trailers of an answer.
pub(crate) fn downward(trailers: &mut HeaderMap) {
    hop_by_hop::strip(trailers);
    let misplaced: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| is_misplaced(name.as_str()))
        .cloned()
        .collect();
    for name in misplaced {
        trailers.remove(name);
    }
}

fn is_misplaced(name: &str) -> bool {
    header_names::is_forwarded(name) || header_names::is_precious(name) || MISPLACED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(policy: Underscores, fields: &[&'static str]) -> Result<Vec<String>, RequestViolation> {
        let mut trailers = HeaderMap::new();
        for name in fields {
            trailers.insert(*name, "1".parse().unwrap());
        }
        let taken = [HeaderName::from_static("x-user")];
        upward(&mut trailers, policy, &taken)?;
        let mut left: Vec<String> = trailers.keys().map(HeaderName::to_string).collect();
        left.sort();
        Ok(left)
    }

    #[test]
    fn sums_and_results_stay() {
        let fine = ["grpc-message", "grpc-status", "server-timing", "x-sum"];
        assert_eq!(left(Underscores::Drop, &fine).unwrap(), fine);
    }

    #[test]
    fn what_had_to_be_known_before_the_body_goes() {
        let wrong = [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "upgrade",
            "cookie",
            "authorization",
            "content-type",
            "origin",
            "x-forwarded-for",
            "forwarded",
            "x-real-ip",
            "x-original-url",
            "set-cookie",
            "cache-control",
            "range",
            "te",
            "trailer",
            "expect",
            "proxy-authorization",
            "x-user",
            "x_user",
        ];
        assert_eq!(left(Underscores::Drop, &wrong).unwrap(), [""; 0]);
        assert_eq!(left(Underscores::Allow, &wrong).unwrap(), [""; 0]);
    }

    #[test]
    fn aliases_are_judged_as_before_the_body() {
        let aliases = ["x_forwarded_for", "x.sum", "x-plain"];
        assert_eq!(left(Underscores::Drop, &aliases).unwrap(), ["x-plain"]);
        let allowed = left(Underscores::Allow, &aliases).unwrap();
        assert_eq!(allowed, ["x-plain", "x.sum"]);
        let rejected = left(Underscores::Reject, &aliases);
        assert_eq!(rejected, Err(RequestViolation::AmbiguousName));
    }
}
