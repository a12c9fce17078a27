//! The PROXY protocol: the client's address that a proxy sends in front of a connection's first byte.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. `ppp` reads the addresses. Where a header ends, and what has to
//! be known before it is whole, is decided here: `ppp` takes some lines that are whole and broken for beginnings of others, and
//! refuses the `LOCAL` of health checks that bring no addresses.

use std::net::IpAddr;

use ppp::{v1, v2};

/// Longest header that is read, type-length-value fields included: nginx's bound.
pub const LONGEST: usize = 4096;
/// Longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;
/// How version 1 begins.
const LINE: &[u8] = b"PROXY ";
/// How version 2 begins.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const BINARY_HEAD: usize = 16;

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderStart {
    /// No header.
    Bare,
    /// The beginning of one, or of anything: not enough to tell.
    Partial {
        /// Whether it can be nothing else than a header by now.
        is_header: bool,
    },
    /// A header of so many bytes.
    Header(usize, ProxySource),
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxySource {
    /// The proxy's own: a health check.
    Proxy,
    /// This client's.
    Client(IpAddr),
    /// A client that the proxy does not name by an IP address.
    Unnamed,
}

/// A header that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads what a connection begins with.
///
/// # Errors
/// It is a header, and a broken or too long one.
pub fn begin(bytes: &[u8]) -> Result<HeaderStart, Malformed> {
    if bytes.starts_with(LINE) {
        return line(bytes);
    }
    if bytes.starts_with(BINARY) {
        return binary(bytes);
    }
    Ok(match LINE.starts_with(bytes) || BINARY.starts_with(bytes) {
        true => HeaderStart::Partial { is_header: false },
        false => HeaderStart::Bare,
    })
}

const MORE: Result<HeaderStart, Malformed> = Ok(HeaderStart::Partial { is_header: true });

fn line(bytes: &[u8]) -> Result<HeaderStart, Malformed> {
    let longest = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let end = longest.windows(2).position(|pair| pair == b"\r\n");
    let Some(end) = end else {
        return match bytes.len() < LONGEST_LINE {
            true => MORE,
            false => Err(Malformed),
        };
    };
    let (text, length) = (bytes.get(..end).unwrap_or_default(), end + 2);
    let words = text.strip_prefix(b"PROXY UNKNOWN");
    if words.is_some_and(|rest| rest.is_empty() || rest.starts_with(b" ")) {
        return Ok(HeaderStart::Header(length, ProxySource::Unnamed));
    }
    let whole = bytes.get(..length).unwrap_or_default();
    let header = v1::Header::try_from(whole).map_err(|_| Malformed)?;
    if header.header.len() != length {
        return Err(Malformed);
    }
    let source = match header.addresses {
        v1::Addresses::Tcp4(ip) => named(ip.source_address),
        v1::Addresses::Tcp6(ip) => named(ip.source_address),
        v1::Addresses::Unknown => ProxySource::Unnamed,
    };
    Ok(HeaderStart::Header(length, source))
}

fn binary(bytes: &[u8]) -> Result<HeaderStart, Malformed> {
    const VERSION: u8 = 0x20;
    const LOCAL: u8 = 0x20;
    let Some(&[command, _, high, low]) = bytes.get(BINARY.len()..BINARY_HEAD) else {
        return MORE;
    };
    let length = BINARY_HEAD + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST || command & 0xf0 != VERSION {
        return Err(Malformed);
    }
    let Some(whole) = bytes.get(..length) else {
        return MORE;
    };
    if command == LOCAL {
        return Ok(HeaderStart::Header(length, ProxySource::Proxy));
    }
    let header = v2::Header::try_from(whole).map_err(|_| Malformed)?;
    let source = match (header.protocol, header.addresses) {
        (v2::Protocol::Datagram, _) => return Err(Malformed),
        (v2::Protocol::Stream, v2::Addresses::IPv4(ip)) => named(ip.source_address),
        (v2::Protocol::Stream, v2::Addresses::IPv6(ip)) => named(ip.source_address),
        _ => ProxySource::Unnamed,
    };
    Ok(HeaderStart::Header(length, source))
}

fn named(ip: impl Into<IpAddr>) -> ProxySource {
    ProxySource::Client(ip.into().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [BINARY, &[command, family], &length, body].concat()
    }

    fn v4_body() -> Vec<u8> {
        [
            &[192, 0, 2, 7][..],
            &[10, 0, 0, 1],
            &[0x30, 0x39, 0x01, 0xbb],
        ]
        .concat()
    }

    fn v6_body() -> Vec<u8> {
        let client: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
        [&client.octets()[..], &[0; 16], &[0x30, 0x39, 0x01, 0xbb]].concat()
    }

    /// Everything that the header names, with what follows it left alone.
    fn source(header: &[u8]) -> ProxySource {
        let with_request = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
        match begin(&with_request).unwrap() {
            HeaderStart::Header(length, source) if length == header.len() => source,
            other => panic!("{other:?} for {}", header.escape_ascii()),
        }
    }

    fn client(ip: &str) -> ProxySource {
        ProxySource::Client(ip.parse().unwrap())
    }

    #[test]
    fn a_header_names_the_client() {
        let line = |text: &str| source(text.as_bytes());
        let four = "PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n";
        assert_eq!(line(four), client("192.0.2.7"));
        let six = "PROXY TCP6 2001:db8::7 ::1 12345 443\r\n";
        assert_eq!(line(six), client("2001:db8::7"));
        let mapped = "PROXY TCP6 ::ffff:192.0.2.7 ::1 12345 443\r\n";
        assert_eq!(line(mapped), client("192.0.2.7"));
        assert_eq!(source(&v2(PROXY, 0x11, &v4_body())), client("192.0.2.7"));
        assert_eq!(source(&v2(PROXY, 0x21, &v6_body())), client("2001:db8::7"));
    }

    #[test]
    fn fields_behind_the_addresses_are_skipped() {
        let body = [v4_body(), vec![0x04, 0x00, 0x02, 0xff, 0xff], vec![7; 1000]].concat();
        assert_eq!(source(&v2(PROXY, 0x11, &body)), client("192.0.2.7"));
    }

    #[test]
    fn a_proxy_may_speak_for_itself_or_name_no_client() {
        assert_eq!(source(&v2(LOCAL, 0x00, b"")), ProxySource::Proxy);
        assert_eq!(source(&v2(LOCAL, 0x11, b"")), ProxySource::Proxy);
        assert_eq!(source(&v2(LOCAL, 0x11, &v4_body())), ProxySource::Proxy);
        assert_eq!(source(&v2(PROXY, 0x00, b"")), ProxySource::Unnamed);
        assert_eq!(source(&v2(PROXY, 0x31, &[0; 216])), ProxySource::Unnamed);
        for text in [
            "PROXY UNKNOWN\r\n",
            "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
            "PROXY UNKNOWN a b c d e f g h\r\n",
        ] {
            assert_eq!(source(text.as_bytes()), ProxySource::Unnamed, "{text}");
        }
    }

    #[test]
    fn a_beginning_is_told_from_a_header_and_from_a_request() {
        let headers = [
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n".to_vec(),
            v2(PROXY, 0x11, &v4_body()),
        ];
        for header in headers {
            for cut in 0..header.len() {
                let begun = begin(&header[..cut]).unwrap();
                let is_partial = matches!(begun, HeaderStart::Partial { .. });
                assert!(is_partial, "{cut} bytes: {begun:?}");
            }
        }
        for bare in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PRO X",
            b"\r\nGET",
            b"\x16\x03\x01",
            b"PROXYX",
        ] {
            assert_eq!(
                begin(bare),
                Ok(HeaderStart::Bare),
                "{}",
                bare.escape_ascii()
            );
        }
        let undecided = Ok(HeaderStart::Partial { is_header: false });
        assert_eq!(
            (begin(b""), begin(b"P"), begin(b"\r\n\r\n")),
            (undecided, undecided, undecided)
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_as_soon_as_it_is_whole() {
        let long = format!("PROXY TCP4 {}", "1".repeat(107));
        for text in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 12345 443 1\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 012345 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\r\n",
            "PROXY TCP4 192.0.2.7\r10.0.0.1 12345 443\r\n",
            "PROXY TCP4 2001:db8::7 ::1 12345 443\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 12345 443\r\n",
            "PROXY TCP4 192.0.2.256 10.0.0.1 12345 443\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 12345 443\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY  TCP4 192.0.2.7 10.0.0.1 12345 443\r\n",
            "PROXY tcp4 192.0.2.7 10.0.0.1 12345 443\r\n",
            &long,
        ] {
            assert_eq!(begin(text.as_bytes()), Err(Malformed), "{text:?}");
        }
        for (command, family, body) in [
            (0x11, 0x11, v4_body()),
            (0x22, 0x11, v4_body()),
            (PROXY, 0x41, v4_body()),
            (PROXY, 0x12, v4_body()),
            (PROXY, 0x13, v4_body()),
            (PROXY, 0x11, vec![0; 11]),
            (PROXY, 0x21, v4_body()),
            (PROXY, 0x11, vec![0; 4081]),
        ] {
            let header = v2(command, family, &body);
            assert_eq!(
                begin(&header),
                Err(Malformed),
                "{command:#x} {family:#x} {}",
                body.len()
            );
        }
        let endless = [BINARY, &[PROXY, 0x11, 0xff, 0xff]].concat();
        assert_eq!(begin(&endless), Err(Malformed), "its length alone");
    }
}
