//! What a request says: its query, its JSON body, its `If-Match`.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::IF_MATCH;
use hyper::{HeaderMap, Request, StatusCode};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::response::Fault;

/// Largest body, bytes: a configuration file is the largest thing that callers send.
const LARGEST: usize = 4 << 20;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request that was read completely.
pub(crate) struct Asked {
    /// Query parameters, decoded, in order.
    pub(crate) query: Vec<(String, String)>,
    /// Header fields.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Bytes,
}

impl Asked {
    /// Reads the body within the limits.
    ///
    /// # Errors
    /// 413, 408, or 400 where it breaks off.
    pub(crate) async fn read(request: Request<Incoming>) -> Result<Self, Fault> {
        let (head, body) = request.into_parts();
        let collected = tokio::time::timeout(PATIENCE, Limited::new(body, LARGEST).collect());
        let body = match collected.await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(Fault::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "payload_too_large",
                    "the body is larger than 4 MiB",
                ));
            }
            Ok(Err(_)) => return Err(Fault::bad_request("the body broke off")),
            Err(_) => {
                return Err(Fault::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "timeout",
                    "the body took more than 10 s",
                ));
            }
        };
        Ok(Asked {
            query: parse_query(head.uri.query().unwrap_or_default()),
            headers: head.headers,
            body,
        })
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// 400 where it is no JSON, 422 where it is no object, or a member is unknown, missing or of the wrong kind.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let refuse = |error: serde_json::Error| match error.classify() {
            serde_json::error::Category::Data => Fault::unprocessable(error.to_string()),
            _ => Fault::bad_request(format!("the body is no JSON document: {error}")),
        };
        // An array would be taken for the members in their order.
        if !self.body.trim_ascii_start().starts_with(b"{") {
            serde_json::from_slice::<IgnoredAny>(&self.body).map_err(refuse)?;
            return Err(Fault::unprocessable("the body is no JSON object"));
        }
        serde_json::from_slice(&self.body).map_err(refuse)
    }

    /// The generations that the caller would have changed; `None` where it does not care (no `If-Match`, or `*`).
    ///
    /// # Errors
    /// 412 where it is no list of entity tags (RFC 9110, 13.1.1).
    pub(crate) fn if_match(&self) -> Result<Option<Vec<u64>>, Fault> {
        let mut lines = self.headers.get_all(IF_MATCH).iter();
        let Some(first) = lines.next() else {
            return Ok(None);
        };
        let mut generations = Vec::new();
        for line in std::iter::once(first).chain(lines) {
            let text = line.to_str().unwrap_or_default().trim();
            if text == "*" {
                return Ok(None);
            }
            let tags = generations_of(text).ok_or_else(|| {
                Fault::new(
                    StatusCode::PRECONDITION_FAILED,
                    "precondition_failed",
                    "If-Match is no list of generations: send the ETag that you read, as `\"7\"`",
                )
            })?;
            generations.extend(tags);
        }
        Ok(Some(generations))
    }

    /// The only value of a query parameter.
    ///
    /// # Errors
    /// 422 where it is there twice.
    pub(crate) fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Fault> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
            _ => Err(Fault::unprocessable(format!("`{name}` is given twice"))),
        }
    }

    /// All values of a query parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.query.iter().filter(move |(n, _)| n == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Refuses query parameters that are not these.
    ///
    /// # Errors
    /// 422.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Fault> {
        match self
            .query
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            Some((name, _)) => Err(Fault::unprocessable(format!(
                "unknown query parameter `{name}`, expected {}",
                known.join(", ")
            ))),
            None => Ok(()),
        }
    }
}

/// The generations in a list of entity tags; `None` where it is none. Weak tags and those of others never match.
fn generations_of(list: &str) -> Option<Vec<u64>> {
    let mut generations = Vec::new();
    let mut rest = list;
    let mut is_first = true;
    loop {
        let tag = rest.trim_start_matches([' ', '\t', ',']);
        if tag.is_empty() {
            return (!is_first).then_some(generations);
        }
        // Tags of a list are apart.
        if !is_first && !rest.trim_start().starts_with(',') {
            return None;
        }
        is_first = false;
        let (is_weak, opaque) = match tag.strip_prefix("W/") {
            Some(opaque) => (true, opaque),
            None => (false, tag),
        };
        let (value, after) = match opaque.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            // Without its quotes a generation is understood too.
            None if !is_weak => {
                let (value, after) = opaque.split_at(opaque.find(',').unwrap_or(opaque.len()));
                let value = value.trim_end();
                value.parse::<u64>().ok()?;
                (value, after)
            }
            None => return None,
        };
        let is_ours = !is_weak && value.bytes().all(|byte| byte.is_ascii_digit());
        generations.extend(is_ours.then(|| value.parse::<u64>().ok()).flatten());
        rest = after;
    }
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        let bytes = percent_encoding::percent_decode_str(&spaced);
        bytes.decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::typed::{Json, TypedBody};
    use super::*;

    fn asked(if_match: &str) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(IF_MATCH, if_match.parse().unwrap());
        Asked {
            query: vec![],
            headers,
            body: Bytes::new(),
        }
    }

    #[test]
    fn an_etag_is_a_generation() {
        let generations = |list: &str| asked(list).if_match().unwrap();
        assert_eq!(generations("*"), None);
        for (list, expected) in [
            ("\"7\"", vec![7]),
            ("7", vec![7]),
            ("\"1\", \"2\"", vec![1, 2]),
            (" , \"1\",,\t\"2\" ,", vec![1, 2]),
            ("1, 2", vec![1, 2]),
            // Of others, or compared weakly: no generation of ours.
            ("\"x,1\", \"2\"", vec![2]),
            ("W/\"7\"", vec![]),
            ("W/\"7\", \"8\"", vec![8]),
            ("\"\"", vec![]),
            ("\"99999999999999999999\"", vec![]),
        ] {
            assert_eq!(generations(list), Some(expected), "{list}");
        }
        for odd in [
            "",
            ",",
            "\"7",
            "x",
            "-1",
            "W/7",
            "\"1\" \"2\"",
            "\"1\"2",
            "1 2",
        ] {
            assert!(asked(odd).if_match().is_err(), "{odd}");
        }
        let mut twice = asked("\"1\"");
        twice.headers.append(IF_MATCH, "\"2\"".parse().unwrap());
        assert_eq!(twice.if_match().unwrap(), Some(vec![1, 2]));
    }

    #[test]
    fn a_body_is_an_object_or_is_refused() {
        #[derive(serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct Reason {
            reason: Option<String>,
        }
        let read = |body: &'static str| {
            let mut asked = asked("*");
            asked.body = Bytes::from_static(body.as_bytes());
            let read = <Option<Json<Reason>>>::read(&asked);
            read.map(|body| body.and_then(|Json(body)| body.reason))
                .map_err(|fault| fault.answer("id").status().as_u16())
        };
        assert_eq!(read(""), Ok(None));
        assert_eq!(read(" {\"reason\":null}"), Ok(None));
        assert_eq!(read("{\"reason\":\"r\"}"), Ok(Some("r".into())));
        for (body, status) in [
            ("[\"r\"]", 422),
            ("[]", 422),
            ("null", 422),
            ("\"r\"", 422),
            ("{\"why\":1}", 422),
            ("[", 400),
            ("nonsense", 400),
            ("{", 400),
        ] {
            assert_eq!(read(body), Err(status), "{body}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let pairs = parse_query("path=/a%3Fb%3D1&header=X-A:+b&header=c&&flag");
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("path", "/a?b=1"),
                ("header", "X-A: b"),
                ("header", "c"),
                ("flag", "")
            ]
        );
    }
}
