//! Why a credential is refused. Pure.

use std::borrow::Cow;
use std::time::Duration;

use crate::error::{Code, Refusal};

/// Why an authority does not verify a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthError {
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

impl AuthError {
    /// The word in `auth_total{result}`.
    pub(crate) fn result(&self) -> &'static str {
        match self {
            AuthError::Missing => "missing",
            AuthError::Invalid(_) => "invalid",
            AuthError::Expired => "expired",
            AuthError::Revoked => "revoked",
            AuthError::Unavailable(_) => "unavailable",
        }
    }

    /// Whether the client may be guessing credentials.
    pub(crate) fn is_guess(&self) -> bool {
        matches!(self, AuthError::Invalid(_))
    }

    /// The close code that tells a client what to do: stop (4001), get new credentials (44xx) or retry (4100).
    pub(crate) fn close_code(&self) -> u16 {
        match self {
            AuthError::Missing | AuthError::Invalid(_) => 4001,
            AuthError::Expired => 4401,
            AuthError::Revoked => 4403,
            AuthError::Unavailable(_) => 4100,
        }
    }

    /// One sentence for a person.
    pub(crate) fn detail(&self) -> Cow<'static, str> {
        match self {
            AuthError::Missing => "credentials are needed here, and there are none".into(),
            AuthError::Invalid(why) => why.clone(),
            AuthError::Expired => "the token has expired: get a new one".into(),
            AuthError::Revoked => "the credentials were revoked: get new ones".into(),
            AuthError::Unavailable(_) => "the authority cannot be reached: try again later".into(),
        }
    }
}

impl From<&AuthError> for Refusal {
    fn from(denied: &AuthError) -> Refusal {
        let (code, retry) = match denied {
            AuthError::Missing | AuthError::Invalid(_) | AuthError::Revoked => {
                (Code::Unauthorized, None)
            }
            AuthError::Expired => (Code::TokenExpired, None),
            AuthError::Unavailable(retry) => (Code::UpstreamDown, Some(*retry)),
        };
        let mut refusal = Refusal::new(code, denied.detail());
        if let Some(retry) = retry {
            refusal.status = 503;
            refusal.retry_ms = Some(retry.as_millis() as u64);
        }
        refusal
    }
}
