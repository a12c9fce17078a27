//! The double submit that a write with a cookie has to bring. Pure.
//!
//! A page of another site can make a browser send the cookie, but cannot read it, so it cannot repeat its value in a header.
//! The caller knows whether a request is authenticated by a cookie at all.

use hyper::header::{COOKIE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method};
use subtle::ConstantTimeEq;

use crate::config::Csrf;

/// Why a write is taken for a forgery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CsrfRefused {
    /// No such cookie, or an empty one.
    NoCookie,
    /// Such cookies with different values: one may have been planted by another host of the domain.
    TwoCookies,
    /// No such header, or an empty one.
    NoHeader,
    /// Such headers, more than one.
    TwoHeaders,
    /// They differ.
    Mismatch,
}

impl CsrfRefused {
    /// One sentence for a person.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            CsrfRefused::NoCookie => "the CSRF cookie is missing",
            CsrfRefused::TwoCookies => "the CSRF cookie is there twice with different values",
            CsrfRefused::NoHeader => "the CSRF header is missing: it has to repeat the cookie",
            CsrfRefused::TwoHeaders => "the CSRF header is there more than once",
            CsrfRefused::Mismatch => "the CSRF header does not repeat the cookie",
        }
    }
}

/// Judges a request over HTTP.
///
/// # Errors
/// It would write and does not bring both.
pub(crate) fn judge(method: &Method, headers: &HeaderMap, csrf: &Csrf) -> Result<(), CsrfRefused> {
    let repeated = headers.get_all(&csrf.header).iter();
    let repeated = repeated.map(HeaderValue::as_bytes);
    compare(method, headers.get_all(COOKIE).iter(), csrf, repeated)
}

/// Judges a `req`: the `Cookie` is the handshake's, the header its own.
///
/// # Errors
/// It would write and does not bring both.
pub(crate) fn judge_call(
    method: &Method,
    handshake: Option<&HeaderValue>,
    headers: &[(String, String)],
    csrf: &Csrf,
) -> Result<(), CsrfRefused> {
    let is_meant = |name: &str| {
        name.parse::<HeaderName>()
            .is_ok_and(|name| name == csrf.header)
    };
    let repeated = headers.iter().filter(|(name, _)| is_meant(name));
    let repeated = repeated.map(|(_, value)| value.as_bytes());
    compare(method, handshake.into_iter(), csrf, repeated)
}

fn compare<'r>(
    method: &Method,
    cookies: impl Iterator<Item = &'r HeaderValue>,
    csrf: &Csrf,
    mut repeated: impl Iterator<Item = &'r [u8]>,
) -> Result<(), CsrfRefused> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let cookie = cookie(cookies, &csrf.cookie)?;
    let header = match (repeated.next().map(<[u8]>::trim_ascii), repeated.next()) {
        (None | Some([]), _) => return Err(CsrfRefused::NoHeader),
        (Some(header), None) => header,
        _ => return Err(CsrfRefused::TwoHeaders),
    };
    match bool::from(header.ct_eq(cookie)) {
        true => Ok(()),
        false => Err(CsrfRefused::Mismatch),
    }
}

/// The one value of a cookie, in bytes: a value that is no text is a value too, and hides no other.
fn cookie<'h>(
    lines: impl Iterator<Item = &'h HeaderValue>,
    name: &str,
) -> Result<&'h [u8], CsrfRefused> {
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    });
    match values.next() {
        None => Err(CsrfRefused::NoCookie),
        Some(first) if !values.all(|value| value == first) => Err(CsrfRefused::TwoCookies),
        Some([]) => Err(CsrfRefused::NoCookie),
        Some(first) => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csrf() -> Csrf {
        Csrf {
            header: HeaderName::from_static("x-csrftoken"),
            cookie: "csrftoken".to_owned(),
        }
    }

    /// Lines of cookies, values of the header.
    fn post(cookies: &[&'static str], repeated: &[&'static str]) -> Result<(), CsrfRefused> {
        let mut headers = HeaderMap::new();
        for line in cookies {
            headers.append(COOKIE, HeaderValue::from_static(line));
        }
        let line = (!cookies.is_empty()).then(|| cookies.join("; "));
        let line = line.map(|line| HeaderValue::from_str(&line).unwrap());
        let mut fields = vec![("X-Other".to_owned(), "t".to_owned())];
        for value in repeated {
            headers.append("x-csrftoken", HeaderValue::from_static(value));
            fields.push(("X-CSRFToken".to_owned(), (*value).to_owned()));
        }
        let judged = judge(&Method::POST, &headers, &csrf());
        // A message is judged as a request is.
        let of_call = judge_call(&Method::POST, line.as_ref(), &fields, &csrf());
        assert_eq!(of_call, judged);
        judged
    }

    #[test]
    fn a_write_repeats_the_cookie_in_the_header() {
        use CsrfRefused::*;
        for (cookies, repeated, expected) in [
            (&["csrftoken=t"][..], &["t"][..], Ok(())),
            (&["a=1; csrftoken=t;b=2"], &["t"], Ok(())),
            (&["a=1", "csrftoken=t"], &["t"], Ok(())),
            (&["csrftoken=t; csrftoken=t"], &["t"], Ok(())),
            (&["csrftoken=a=b"], &["a=b"], Ok(())),
            (&[], &["t"], Err(NoCookie)),
            (&["csrftoken"], &["t"], Err(NoCookie)),
            (&["csrftoken="], &[""], Err(NoCookie)),
            (&["CSRFToken=t"], &["t"], Err(NoCookie)),
            (&["xcsrftoken=t; csrftokenx=t"], &["t"], Err(NoCookie)),
            (&["csrftoken=t; csrftoken=u"], &["t"], Err(TwoCookies)),
            (&["csrftoken=t", "csrftoken=u"], &["u"], Err(TwoCookies)),
            (&["csrftoken=t; csrftoken="], &["t"], Err(TwoCookies)),
            (&["csrftoken=t"], &[], Err(NoHeader)),
            (&["csrftoken=t"], &[""], Err(NoHeader)),
            (&["csrftoken=t"], &["t", "t"], Err(TwoHeaders)),
            (&["csrftoken=t"], &["u"], Err(Mismatch)),
            (&["csrftoken=t"], &["T"], Err(Mismatch)),
            (&["csrftoken=t"], &["tt"], Err(Mismatch)),
            (&["csrftoken=\"t\""], &["t"], Err(Mismatch)),
        ] {
            assert_eq!(
                post(cookies, repeated),
                expected,
                "{cookies:?} {repeated:?}"
            );
        }
    }

    #[test]
    fn reading_is_never_judged_and_everything_else_is() {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let method = method.parse().unwrap();
            assert_eq!(judge(&method, &HeaderMap::new(), &csrf()), Ok(()));
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PURGE", "get"] {
            let method = method.parse().unwrap();
            let judged = judge(&method, &HeaderMap::new(), &csrf());
            assert_eq!(judged, Err(CsrfRefused::NoCookie), "{method}");
        }
    }

    #[test]
    fn a_cookie_that_is_no_text_hides_no_other() {
        let mut headers = HeaderMap::new();
        let odd = HeaderValue::from_bytes(b"csrftoken=\xff").unwrap();
        headers.append(COOKIE, odd);
        headers.append(COOKIE, HeaderValue::from_static("csrftoken=t"));
        headers.append("x-csrftoken", HeaderValue::from_static("t"));
        let judged = judge(&Method::POST, &headers, &csrf());
        assert_eq!(judged, Err(CsrfRefused::TwoCookies));
    }
}
