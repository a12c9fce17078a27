//! A short text that is made once and then goes into fields and log lines.

use std::net::IpAddr;
use std::ops::Deref;

use bytes::Bytes;
use hyper::header::HeaderValue;

/// Visible ASCII. To clone it or to make a field's value of it copies nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(HeaderValue);

impl Text {
    /// A text known before.
    pub(crate) const fn fixed(text: &'static str) -> Self {
        Text(HeaderValue::from_static(text))
    }

    /// `None` where it holds anything but visible ASCII and spaces.
    pub(crate) fn new(text: impl Into<Bytes>) -> Option<Self> {
        let value = HeaderValue::from_maybe_shared(text.into()).ok()?;
        value.to_str().is_ok().then_some(Text(value))
    }

    /// As a field's value.
    pub(crate) fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl From<IpAddr> for Text {
    fn from(ip: IpAddr) -> Self {
        // An address is always visible ASCII.
        Text::new(ip.to_string()).unwrap_or(Text::fixed("-"))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        // Looked at when it was made.
        self.0.to_str().unwrap_or("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_stand_in_a_field_and_a_log_line_is_a_text() {
        assert_eq!(Text::new("a1~").as_deref(), Some("a1~"));
        for odd in ["a\nb", "\0", "ä", "\u{7f}"] {
            assert_eq!(Text::new(odd), None, "{odd:?}");
        }
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(&*Text::from(address), "2001:db8::1");
    }
}
