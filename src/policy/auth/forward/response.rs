//! What an authority's answer means.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::response::Parts;
use hyper::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::config::Forward;
use crate::json;
use crate::policy::auth::identity::{Identity, is_lost, lookup};

/// Longest body of an answer, bytes.
pub(crate) const LONGEST: usize = 64 << 10;

/// How deep the members that are asked for may stand.
const DEPTH: usize = 32;

const HTML: &str =
    "it answered with an HTML page, probably a login form, where JSON with a user is expected";

/// What an authority said.
pub(crate) enum AuthResponse {
    /// The authority names the identity.
    Known(Arc<Identity>),
    /// It does not know them.
    Unknown,
    /// It took the request for something else. The client is not known, and an operator has something to fix.
    Beside(Cow<'static, str>),
    /// The answer is unusable: the identity stays unknown.
    Failed(Cow<'static, str>),
}

/// What head and body of an answer say together.
pub(crate) fn judge(auth: &Arc<str>, forward: &Forward, head: &Parts, body: &[u8]) -> AuthResponse {
    of_head(head.status, &head.headers).unwrap_or_else(|| of_body(auth, forward, body, [0; 32]))
}

/// What the head alone says; `None` where the body decides.
pub(crate) fn of_head(status: StatusCode, headers: &HeaderMap) -> Option<AuthResponse> {
    if status.is_success() {
        return is_html(headers).then_some(AuthResponse::Beside(HTML.into()));
    }
    if status.is_redirection() {
        return Some(AuthResponse::Unknown);
    }
    Some(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => AuthResponse::Unknown,
        StatusCode::NOT_FOUND => {
            AuthResponse::Failed("it answered 404: nothing is at the path of this `[auth]`".into())
        }
        _ => AuthResponse::Failed(format!("it answered {}", status.as_u16()).into()),
    })
}

/// What the body of a success says. A claim that is there twice, or cannot be held exactly, counts as absent; where the
/// file asks for it the answer names no user. A member that the file does not ask for does no harm. `credential` is the
/// digest of what the authority was asked with.
pub(crate) fn of_body(
    auth: &Arc<str>,
    forward: &Forward,
    body: &[u8],
    credential: [u8; 32],
) -> AuthResponse {
    let read = json::Value::read_deep(body);
    let (read, claims) = match read.map(|read| (read.exact(DEPTH), read)) {
        Some((Value::Object(claims), read)) => (read, claims),
        None if body.trim_ascii_start().starts_with(b"<") => {
            return AuthResponse::Beside(HTML.into());
        }
        _ => return AuthResponse::Beside("its answer is no JSON object".into()),
    };
    let named = [
        Some(&forward.user),
        forward.tenant.as_ref(),
        forward.roles.as_ref(),
    ];
    if let Some(at) = named
        .into_iter()
        .flatten()
        .find(|at| is_lost(read, &claims, at))
    {
        let why = format!("what its answer says at `{at}` is there twice, or no name");
        return AuthResponse::Beside(why.into());
    }
    let Some(user) = lookup(&claims, &forward.user).and_then(name) else {
        let why = format!("its answer has no user at `{}`", forward.user);
        return AuthResponse::Beside(why.into());
    };
    let tenant = forward
        .tenant
        .as_deref()
        .map(|at| (at, lookup(&claims, at)));
    let tenant = match tenant {
        Some((at, Some(found))) => match name(found) {
            // Two tenants without a name would be one.
            None => {
                let why = format!("the tenant in its answer, at `{at}`, is no name");
                return AuthResponse::Beside(why.into());
            }
            named => named,
        },
        _ => None,
    };
    let roles = forward.roles.as_deref().and_then(|at| lookup(&claims, at));
    let roles = match roles {
        Some(Value::Array(list)) => list.iter().filter_map(name).collect(),
        Some(one) => words(&name(one).unwrap_or_default()),
        None => Vec::new(),
    };
    AuthResponse::Known(Arc::new(Identity {
        auth: auth.clone(),
        user,
        tenant,
        roles,
        claims,
        expires: None,
        leeway: 0,
        token_id: None,
        issued: None,
        credential,
    }))
}

/// As scopes are written.
fn words(text: &str) -> Vec<String> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// Text that is not empty, or a whole number.
fn name(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

fn is_html(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = text.and_then(|text| text.split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| {
        let essence = essence.trim_ascii();
        essence.eq_ignore_ascii_case(b"text/html")
            || essence.eq_ignore_ascii_case(b"application/xhtml+xml")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::forward;
    use super::*;

    fn read(body: &str) -> AuthResponse {
        let forward = Forward {
            tenant: Some("/org/id".into()),
            roles: Some("roles".into()),
            ..forward("127.0.0.1:1")
        };
        of_body(&"session".into(), &forward, body.as_bytes(), [7; 32])
    }

    fn known(body: &Value) -> Arc<Identity> {
        match read(&body.to_string()) {
            AuthResponse::Known(identity) => identity,
            _ => panic!("{body} names no user"),
        }
    }

    #[test]
    fn user_is_text_or_whole_number_and_its_claims_are_kept() {
        let body = json!({"user": "alice", "org": {"id": 3}, "roles": ["site admin", 7, "", null, {}], "x": 1});
        let alice = known(&body);
        assert_eq!(
            (alice.user.as_str(), alice.tenant.as_deref()),
            ("alice", Some("3"))
        );
        assert_eq!(alice.roles, ["site admin", "7"]);
        assert_eq!(json!(alice.claims), body);
        assert_eq!((alice.expires, alice.credential), (None, [7; 32]));
        assert_eq!(known(&json!({"user": 42})).user, "42");
        assert_eq!(
            known(&json!({"user": -1, "org": {"id": null}})).tenant,
            None
        );
        let words = known(&json!({"user": "a", "roles": "editor admin,ops"}));
        assert_eq!(words.roles, ["editor", "admin", "ops"]);
    }

    #[test]
    fn success_that_names_no_user_is_an_error_that_says_why() {
        for (body, why) in [
            ("", "no JSON object"),
            ("\"alice\"", "no JSON object"),
            ("[{\"user\":\"alice\"}]", "no JSON object"),
            ("{\"user\":\"alice\"} x", "no JSON object"),
            ("\n <!doctype html>", "HTML page"),
            ("{}", "no user at `user`"),
            ("{\"user\":null}", "no user"),
            ("{\"user\":\"\"}", "no user"),
            ("{\"user\":true}", "no user"),
            ("{\"user\":{\"id\":1}}", "no user"),
            ("{\"user\":18446744073709551617}", "at `user`"),
            ("{\"user\":1.5}", "no user"),
            ("{\"user\":\"alice\",\"user\":\"bob\"}", "at `user`"),
            ("{\"user\":\"alice\",\"\\u0075ser\":\"alice\"}", "at `user`"),
            ("{\"user\":\"\\ud83d\"}", "at `user`"),
            (
                "{\"user\":\"a\",\"org\":{\"id\":1,\"id\":null}}",
                "at `/org/id`",
            ),
            ("{\"user\":\"a\",\"roles\":[],\"roles\":[]}", "at `roles`"),
            ("{\"user\":\"a\",\"org\":{\"id\":{}}}", "the tenant"),
            ("{\"user\":\"a\",\"org\":{\"id\":\"\"}}", "the tenant"),
        ] {
            match read(body) {
                AuthResponse::Beside(found) => assert!(found.contains(why), "{body}: {found}"),
                _ => panic!("{body} is an answer"),
            }
        }
    }

    #[test]
    fn what_is_not_asked_for_may_be_whatever_browsers_read() {
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        for odd in ["\"\\ud83d\"", "1e400", "18446744073709551617", &deep] {
            let body = format!("{{\"user\":\"a\",\"x\":{odd},\"y\":1,\"y\":2}}");
            match read(&body) {
                AuthResponse::Known(identity) => {
                    assert_eq!(identity.user, "a");
                    let names = ["x".to_owned()];
                    assert!(identity.pool(&names).is_err());
                    assert_eq!(identity.claim("y"), None);
                }
                _ => panic!("{odd:.20} hides the user"),
            }
        }
    }

    #[test]
    fn a_head_may_say_it_all() {
        let head = |status: u16, content_type: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            of_head(StatusCode::from_u16(status).unwrap(), &headers)
        };
        for status in [200, 201, 204, 299] {
            assert!(head(status, "application/json").is_none());
            let html = head(status, "Text/HTML; charset=utf-8");
            assert!(matches!(html, Some(AuthResponse::Beside(_))));
        }
        for status in [300, 301, 302, 303, 307, 308, 401, 403] {
            assert!(matches!(
                head(status, "text/html"),
                Some(AuthResponse::Unknown)
            ));
        }
        for status in [101, 400, 404, 405, 429, 500, 503, 599] {
            let answer = head(status, "application/json");
            assert!(matches!(answer, Some(AuthResponse::Failed(_))), "{status}");
        }
    }
}
