//! Why a credential is refused. Pure.

use std::borrow::Cow;
use std::time::Duration;

use crate::error::{Code, Refusal};

/// Why an authority does not verify a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// There is no credential in any place where one is looked for.
    Missing,
    /// It is invalid, and always was; one sentence for a person, without any of its bytes.
    Invalid(Cow<'static, str>),
    /// Its time is over.
    Expired,
    /// An admin took it back.
    Revoked,
    /// The authority is out of reach; when to retry.
    Unavailable(Duration),
}

impl Denied {
    /// The word in `auth_total{result}`.
    pub fn result(&self) -> &'static str {
        match self {
            Denied::Missing => "missing",
            Denied::Invalid(_) => "invalid",
            Denied::Expired => "expired",
            Denied::Revoked => "revoked",
            Denied::Unavailable(_) => "unavailable",
        }
    }

    /// Whether the client may be guessing credentials.
    pub fn is_guess(&self) -> bool {
        matches!(self, Denied::Invalid(_))
    }

    /// The close code that tells a client what to do: stop (4001), get new credentials (44xx) or retry (4100).
    pub fn close_code(&self) -> u16 {
        match self {
            Denied::Missing | Denied::Invalid(_) => 4001,
            Denied::Expired => 4401,
            Denied::Revoked => 4403,
            Denied::Unavailable(_) => 4100,
        }
    }

    /// One sentence for a person.
    pub fn detail(&self) -> Cow<'static, str> {
        match self {
            Denied::Missing => "credentials are needed here, and there are none".into(),
            Denied::Invalid(why) => why.clone(),
            Denied::Expired => "the token has expired: get a new one".into(),
            Denied::Revoked => "the credentials were revoked: get new ones".into(),
            Denied::Unavailable(_) => "the authority cannot be reached: try again later".into(),
        }
    }
}

impl From<&Denied> for Refusal {
    fn from(denied: &Denied) -> Refusal {
        let (code, retry) = match denied {
            Denied::Missing | Denied::Invalid(_) | Denied::Revoked => (Code::Unauthorized, None),
            Denied::Expired => (Code::TokenExpired, None),
            Denied::Unavailable(retry) => (Code::UpstreamDown, Some(*retry)),
        };
        let mut refusal = Refusal::new(code, denied.detail());
        if let Some(retry) = retry {
            refusal.status = 503;
            refusal.retry_ms = Some(retry.as_millis() as u64);
        }
        refusal
    }
}
