//! Detects a request that comes back to this instance: by crossfade's own item in `CDN-Loop` (RFC 8586).
//!
//! `Via` would say the same (RFC 9110, section 7.6.3), but backends answer otherwise where it is there: nginx and IIS then
//! compress nothing.

use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use sha2::Sha256;

use super::hop_by_hop;

/// The field that names what a request has passed through.
pub(crate) const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Rounds after which a request goes no further. A backend that calls back with the fields that it got, as server-side
/// rendering does, has made one.
pub(crate) const MOST: usize = 2;

/// What these instances add to the requests that they send: all with the same secret add the same. It reveals nothing of the machine,
/// and cannot be guessed: a client that learns it from a backend can only have its own requests refused.
#[derive(Clone, Debug)]
pub(crate) struct LoopTag(HeaderValue);

/// What a request says of its way here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    /// Its `CDN-Loop`, in one line.
    pub(crate) field: Option<HeaderValue>,
    /// How often it has come from here.
    pub(crate) rounds: usize,
}

impl LoopTag {
    /// Made of the secret, which it does not reveal.
    pub(crate) fn of(secret: &[u8]) -> Self {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        mac.update(CDN_LOOP.as_str().as_bytes());
        let code = mac.finalize().into_bytes();
        let digits: String = code
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let item = HeaderValue::try_from(format!("crossfade-{digits}"));
        // Letters and digits are a value.
        LoopTag(item.unwrap_or(HeaderValue::from_static("crossfade")))
    }

    /// Where a request with these fields has been.
    pub(crate) fn read(&self, headers: &HeaderMap) -> Way {
        let Some(field) = headers.get(CDN_LOOP) else {
            return Way::default();
        };
        let items = hop_by_hop::tokens(headers, &CDN_LOOP);
        let names = items.filter_map(|item| item.split(';').next());
        let own = |name: &&str| {
            name.trim_end()
                .as_bytes()
                .eq_ignore_ascii_case(self.0.as_bytes())
        };
        Way {
            rounds: names.filter(own).count(),
            field: Some(match headers.get_all(CDN_LOOP).iter().nth(1) {
                None => field.clone(),
                Some(_) => joined(headers),
            }),
        }
    }

    /// Adds it to a request that goes upstream, behind what others have said.
    pub(crate) fn add(&self, headers: &mut HeaderMap) {
        if headers.contains_key(CDN_LOOP) {
            headers.append(CDN_LOOP, self.0.clone());
            let whole = joined(headers);
            headers.insert(CDN_LOOP, whole);
        } else {
            headers.insert(CDN_LOOP, self.0.clone());
        }
    }
}

/// All lines as one: programs that copy fields may keep one line of each name.
fn joined(headers: &HeaderMap) -> HeaderValue {
    let lines = headers.get_all(CDN_LOOP).iter().map(HeaderValue::as_bytes);
    let whole = lines.collect::<Vec<_>>().join(&b", "[..]);
    // Parts of values are one.
    HeaderValue::from_bytes(&whole).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let line = |line: &&str| (CDN_LOOP, HeaderValue::from_str(line).unwrap());
        lines.iter().map(line).collect()
    }

    fn name(tag: &LoopTag) -> &str {
        tag.0.to_str().unwrap()
    }

    #[test]
    fn a_tag_is_the_same_by_the_same_secret_alone() {
        let tag = LoopTag::of(b"secret");
        assert_eq!(name(&tag), name(&LoopTag::of(b"secret")));
        assert_ne!(name(&tag), name(&LoopTag::of(b"another")));
        assert_eq!(name(&tag).len(), "crossfade-".len() + 32);
    }

    #[test]
    fn only_own_items_count_wherever_they_stand() {
        let tag = LoopTag::of(b"secret");
        let own = name(&tag);
        let rounds = |lines: &[&str]| tag.read(&headers(lines)).rounds;
        assert_eq!(rounds(&[]), 0);
        assert_eq!(rounds(&["cloudflare, crossfade", "crossfade-1"]), 0);
        assert_eq!(rounds(&[own]), 1);
        assert_eq!(rounds(&[&format!("cloudflare; a=\"{own}\"")]), 0);
        assert_eq!(
            rounds(&[&format!("a , {own} ; x=1,b"), &own.to_uppercase()]),
            2
        );
        assert_eq!(rounds(&[&format!("{own}x, x{own}")]), 0);
        assert_eq!(rounds(&[name(&LoopTag::of(b"another"))]), 0);
    }

    #[test]
    fn a_tag_is_added_behind_what_others_say_in_one_line() {
        let tag = LoopTag::of(b"secret");
        let own = name(&tag);
        let mut sent = headers(&["cloudflare; v=1", "b"]);
        sent.append(CDN_LOOP, HeaderValue::from_bytes(b"\xff").unwrap());
        for rounds in 1..=3 {
            tag.add(&mut sent);
            assert_eq!(sent.get_all(CDN_LOOP).iter().count(), 1);
            let way = tag.read(&sent);
            assert_eq!(
                (way.rounds, way.field.as_ref()),
                (rounds, sent.get(CDN_LOOP))
            );
        }
        let expected = [b"cloudflare; v=1, b, \xff, ", own.as_bytes()].concat();
        assert!(sent[CDN_LOOP].as_bytes().starts_with(&expected));
    }
}
