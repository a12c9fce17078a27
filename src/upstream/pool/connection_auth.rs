//! Authentication that holds for a connection and not for one request (NTLM, Negotiate; RFC 4559): the backend takes
//! everything that comes over that connection afterwards for the same user's.

use hyper::HeaderMap;
use hyper::header::{
    AUTHORIZATION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE,
};

const SCHEMES: [&[u8]; 2] = [b"ntlm", b"negotiate"];
const PERSISTENT_AUTH: HeaderName = HeaderName::from_static("persistent-auth");

/// Whether a request may authenticate its connection.
pub(crate) fn is_presented(request: &HeaderMap) -> bool {
    [AUTHORIZATION, PROXY_AUTHORIZATION]
        .iter()
        .any(|name| names_scheme(request, name))
}

/// Whether an answer says that its connection is authenticated, or is about to be.
pub(crate) fn is_told(answer: &HeaderMap) -> bool {
    [WWW_AUTHENTICATE, PROXY_AUTHENTICATE]
        .iter()
        .any(|name| names_scheme(answer, name))
        || answer.contains_key(PERSISTENT_AUTH)
}

/// Any word counts, wherever it stands: a connection that is closed without need costs little.
fn names_scheme(headers: &HeaderMap, name: &HeaderName) -> bool {
    let is_scheme = |word: &[u8]| SCHEMES.iter().any(|s| word.eq_ignore_ascii_case(s));
    headers.get_all(name).iter().any(|value| {
        let mut words = value
            .as_bytes()
            .split(|byte| matches!(byte, b',' | b' ' | b'\t'));
        words.any(is_scheme)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_credential_for_the_connection_is_found_in_any_form() {
        for fields in [
            &[("authorization", "NTLM TlRMTVNTUAAB")][..],
            &[("authorization", "negotiate YII=")],
            &[("authorization", "nTlM")],
            &[("authorization", "Negotiate\tYII=")],
            &[("authorization", "Basic YTpi"), ("authorization", "NTLM x")],
            &[("authorization", "Basic YTpi, ,NTLM x")],
            &[("proxy-authorization", "NTLM x")],
        ] {
            assert!(is_presented(&headers(fields)), "{fields:?}");
        }
        for fields in [
            &[][..],
            &[("authorization", "Bearer ntlm.negotiate")],
            &[("authorization", "Basic TlRMTQ==")],
            &[("authorization", "NTLMv2 x")],
            &[("www-authenticate", "NTLM")],
            &[("cookie", "NTLM")],
        ] {
            assert!(!is_presented(&headers(fields)), "{fields:?}");
        }
    }

    #[test]
    fn an_answer_that_authenticates_its_connection_is_known() {
        for fields in [
            &[("www-authenticate", "NTLM")][..],
            &[("www-authenticate", "Negotiate oYG2")],
            &[
                ("www-authenticate", "Basic realm=\"a\""),
                ("www-authenticate", "NTLM"),
            ],
            &[("www-authenticate", "Basic realm=\"a, b\",negotiate")],
            &[("proxy-authenticate", "NTLM TlRMTVNTUAAC")],
            &[("persistent-auth", "true")],
        ] {
            assert!(is_told(&headers(fields)), "{fields:?}");
        }
        for fields in [
            &[][..],
            &[("www-authenticate", "Basic realm=\"intranet\"")],
            &[("www-authenticate", "Bearer error=\"negotiated\"")],
            &[("authorization", "NTLM x")],
        ] {
            assert!(!is_told(&headers(fields)), "{fields:?}");
        }
    }
}
