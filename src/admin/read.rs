//! What a request says: its query, its JSON body, its `If-Match`.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::IF_MATCH;
use hyper::{HeaderMap, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::Fault;

/// Largest body, bytes: a configuration file is the largest thing that anybody sends here.
const LARGEST: usize = 4 << 20;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// A request that was read completely.
pub struct Asked {
    /// Query parameters, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Asked {
    /// Reads the body within the limits.
    ///
    /// # Errors
    /// 413, 408, or 400 where it breaks off.
    pub async fn read(request: Request<Incoming>) -> Result<Self, Fault> {
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
    /// 400 where it is no JSON, 422 where a member is unknown, missing or of the wrong kind.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Fault::unprocessable(error.to_string()),
            _ => Fault::bad_request(format!("the body is no JSON document: {error}")),
        })
    }

    /// The body as JSON, or the default where there is none.
    ///
    /// # Errors
    /// As [`Asked::json`].
    pub fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Fault> {
        match self.body.is_empty() {
            true => Ok(T::default()),
            false => self.json(),
        }
    }

    /// Nothing is asked for beyond the path: no body, or an empty object.
    ///
    /// # Errors
    /// As [`Asked::json`].
    pub fn nothing(&self) -> Result<(), Fault> {
        let Nothing {} = self.json_or_default()?;
        Ok(())
    }

    /// The generation that the caller saw; `None` where it does not care (no `If-Match`, or `*`).
    ///
    /// # Errors
    /// 412 where it is nothing that we ever sent.
    pub fn if_match(&self) -> Result<Option<u64>, Fault> {
        let Some(field) = self.headers.get(IF_MATCH) else {
            return Ok(None);
        };
        let text = field.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(None);
        }
        let tag = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
        match tag.unwrap_or(text).parse() {
            Ok(generation) => Ok(Some(generation)),
            Err(_) => Err(Fault::new(
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                "If-Match is no generation: send the ETag that you read, as `\"7\"`",
            )),
        }
    }

    /// The only value of a query parameter.
    ///
    /// # Errors
    /// 422 where it is there twice.
    pub fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Fault> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
            _ => Err(Fault::unprocessable(format!("`{name}` is given twice"))),
        }
    }

    /// All values of a query parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.query.iter().filter(move |(n, _)| n == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Refuses query parameters that are not these.
    ///
    /// # Errors
    /// 422.
    pub fn only(&self, known: &[&str]) -> Result<(), Fault> {
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
        assert_eq!(asked("\"7\"").if_match().unwrap(), Some(7));
        assert_eq!(asked("7").if_match().unwrap(), Some(7));
        assert_eq!(asked("*").if_match().unwrap(), None);
        for odd in ["", "\"x\"", "W/\"7\"", "\"7", "\"1\", \"2\"", "-1"] {
            assert!(asked(odd).if_match().is_err(), "{odd}");
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
