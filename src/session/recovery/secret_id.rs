//! What a client names to come back to its session.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What finds a session: 128 random bits, known to its client alone. It is no number of the admin API, and is never logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct SecretId(u128);

impl SecretId {
    /// A new one; `None` where the system has no random numbers.
    pub(crate) fn random() -> Option<SecretId> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).ok()?;
        Some(SecretId(u128::from_be_bytes(bytes)))
    }

    /// The one that a client names; `None` where it can be none.
    pub(crate) fn parse(text: &str) -> Option<SecretId> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = || u128::from_str_radix(text, 16).ok();
        is_hex.then(number).flatten().map(SecretId)
    }

    /// As its client names it.
    pub(crate) fn text(self) -> String {
        format!("{:032x}", self.0)
    }
}

impl From<SecretId> for String {
    fn from(id: SecretId) -> String {
        id.text()
    }
}

impl TryFrom<String> for SecretId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        SecretId::parse(&text).ok_or("no id of a session")
    }
}

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", SecretId(7)), "a secret");
    }

    #[test]
    fn its_text_names_it() {
        let id = SecretId::random().expect("random numbers");
        assert_eq!(SecretId::parse(&id.text()), Some(id));
        for text in ["", "7", "+0000000000000000000000000000007", "no"] {
            assert_eq!(SecretId::parse(text), None, "{text}");
        }
    }
}
