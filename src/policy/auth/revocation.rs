//! What an operator revoked: a user, a token by its id, or one credential.
//!
//! Pure: the time is an argument. Only hashes are kept, so the file of them names no user.

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Identity;
use super::identity::digest;

/// How long a revocation holds, seconds: a year, which no revoked credential should outlive.
const LIFE: u64 = 366 * 24 * 60 * 60;

/// Revocations that are kept; the oldest go.
const MOST: usize = 100_000;

/// Of the file's form.
const LAYOUT: u32 = 1;

/// All revocations of the last year.
#[derive(Clone, Default, PartialEq)]
pub struct Revocations {
    /// Unix seconds of each, the last where there are several.
    at: HashMap<[u8; 32], u64>,
}

/// What is revoked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revoked<'a> {
    /// Everything of this user's that is there now, of whatever `[auth]`. Later ones are valid.
    User(&'a str),
    /// The token with this `jti`.
    Token(&'a str),
    /// The credential with this digest.
    Credential([u8; 32]),
    /// All users' credentials of before now: which of them had been revoked is not known any more. Later ones are valid.
    Everything,
}

impl Revocations {
    /// Takes something back, from `now` on, in Unix seconds.
    pub(crate) fn revoke(&mut self, what: Revoked<'_>, now: u64) {
        self.at.retain(|_, at| is_in_force(*at, now));
        let key = what.key();
        if self.at.len() >= MOST
            && !self.at.contains_key(&key)
            && let Some(oldest) = self.at.iter().min_by_key(|(_, at)| **at)
        {
            let oldest = *oldest.0;
            self.at.remove(&oldest);
        }
        self.at.insert(key, now);
    }

    /// Whether the credential or its user was revoked.
    ///
    /// `since` is when an authority that was asked said so, or when a token was issued: what is of after a user was revoked
    /// counts again. A token that does not say when (`None`) is taken to be old.
    pub(crate) fn is_revoked(&self, identity: &Identity, since: Option<u64>, now: u64) -> bool {
        if self.at.is_empty() {
            return false;
        }
        let at = |what: Revoked<'_>| {
            let at = self.at.get(&what.key()).copied();
            at.filter(|at| is_in_force(*at, now))
        };
        let token = identity.token_id.as_deref().map(Revoked::Token);
        at(Revoked::Credential(identity.credential)).is_some()
            || token.and_then(at).is_some()
            || self.is_out(&identity.user, since, now)
    }

    /// Whether there is no revocation.
    pub(crate) fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// Whether a user was revoked after `since`, or within its second.
    pub(crate) fn is_out(&self, user: &str, since: Option<u64>, now: u64) -> bool {
        [Revoked::User(user), Revoked::Everything]
            .into_iter()
            .filter_map(|what| self.at.get(&what.key()))
            .any(|at| is_in_force(*at, now) && since.is_none_or(|since| since <= *at))
    }

    /// As a file keeps them.
    pub(crate) fn to_json(&self) -> String {
        let entry = |(key, at): (&[u8; 32], &u64)| (BASE64_URL_SAFE_NO_PAD.encode(key), *at);
        let mut revoked: Vec<(String, u64)> = self.at.iter().map(entry).collect();
        revoked.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
        let file = File {
            layout: LAYOUT,
            revoked,
        };
        serde_json::to_string(&file).unwrap_or_default()
    }

    /// What a file kept.
    ///
    /// # Errors
    /// It is none of ours, or damaged; one sentence.
    pub(crate) fn from_json(text: &str) -> Result<Revocations, String> {
        let file: File = serde_json::from_str(text)
            .map_err(|error| format!("the revocations cannot be read: {error}"))?;
        if file.layout != LAYOUT {
            let layout = file.layout;
            return Err(format!(
                "the revocations have layout {layout}, and {LAYOUT} is known here"
            ));
        }
        if file.revoked.len() > MOST {
            return Err(format!("there are more than {MOST} revocations"));
        }
        let mut at = HashMap::with_capacity(file.revoked.len());
        for (key, moment) in file.revoked {
            let key = BASE64_URL_SAFE_NO_PAD.decode(key).ok();
            let key = key.and_then(|key| <[u8; 32]>::try_from(key).ok());
            at.insert(key.ok_or("a revocation is no hash")?, moment);
        }
        Ok(Revocations { at })
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocations({})", self.at.len())
    }
}

impl Revoked<'_> {
    fn key(self) -> [u8; 32] {
        match self {
            Revoked::User(user) => digest(["user", user].into_iter()),
            Revoked::Token(id) => digest(["token", id].into_iter()),
            Revoked::Credential(digest) => digest,
            Revoked::Everything => digest(["everything"].into_iter()),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    layout: u32,
    /// Hash and Unix seconds of each.
    revoked: Vec<(String, u64)>,
}

fn is_in_force(at: u64, now: u64) -> bool {
    now < at.saturating_add(LIFE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: u64 = 1_700_000_000;

    fn alice(issued: Option<u64>) -> Identity {
        Identity {
            auth: "jwt".into(),
            user: "alice".into(),
            tenant: None,
            roles: Vec::new(),
            claims: Default::default(),
            expires: None,
            leeway: 5,
            token_id: Some("j1".into()),
            issued,
            credential: [7; 32],
        }
    }

    fn revoked(what: Revoked<'_>) -> Revocations {
        let mut revocations = Revocations::default();
        revocations.revoke(what, NOON);
        revocations
    }

    #[test]
    fn a_revoked_user_gets_in_again_with_what_was_issued_later() {
        let revocations = revoked(Revoked::User("alice"));
        let is_revoked = |issued| revocations.is_revoked(&alice(issued), issued, NOON);
        assert!(is_revoked(Some(NOON - 100)));
        assert!(is_revoked(Some(NOON)));
        assert!(is_revoked(None), "a token without `iat` is taken to be old");
        assert!(!is_revoked(Some(NOON + 1)));
        let bob = Identity {
            user: "bob".into(),
            ..alice(None)
        };
        assert!(!revocations.is_revoked(&bob, None, NOON));
    }

    #[test]
    fn revocation_yields_to_a_new_answer_but_not_to_a_cached_one() {
        let revocations = revoked(Revoked::User("alice"));
        let is_revoked = |at| revocations.is_revoked(&alice(None), Some(at), NOON + 60);
        assert!(is_revoked(NOON - 1));
        assert!(is_revoked(NOON));
        assert!(!is_revoked(NOON + 1));
        // But not for a session that was revoked itself.
        let revocations = revoked(Revoked::Credential([7; 32]));
        assert!(revocations.is_revoked(&alice(None), Some(NOON + 1), NOON + 60));
    }

    #[test]
    fn what_was_issued_before_everything_was_taken_back_is_out() {
        let revocations = revoked(Revoked::Everything);
        let is_revoked = |issued| revocations.is_revoked(&alice(issued), issued, NOON);
        assert!(is_revoked(Some(NOON)) && is_revoked(None));
        assert!(!is_revoked(Some(NOON + 1)));
        assert_eq!(
            Revocations::from_json(&revocations.to_json()),
            Ok(revocations)
        );
    }

    #[test]
    fn a_token_and_a_credential_are_taken_back_alone() {
        for (what, is_hers) in [
            (Revoked::Token("j1"), true),
            (Revoked::Token("j2"), false),
            (Revoked::Token("alice"), false),
            (Revoked::User("j1"), false),
            (Revoked::Credential([7; 32]), true),
            (Revoked::Credential([8; 32]), false),
        ] {
            let revocations = revoked(what);
            let later = alice(Some(NOON + 60));
            assert_eq!(
                revocations.is_revoked(&later, later.issued, NOON + 60),
                is_hers
            );
        }
        let nameless = Identity {
            token_id: None,
            ..alice(None)
        };
        assert!(!revoked(Revoked::Token("j1")).is_revoked(&nameless, None, NOON));
    }

    #[test]
    fn a_revocation_holds_for_a_year() {
        let mut revocations = revoked(Revoked::Token("j1"));
        let is_revoked =
            |revocations: &Revocations, now| revocations.is_revoked(&alice(None), None, now);
        assert!(is_revoked(&revocations, NOON + LIFE - 1));
        assert!(!is_revoked(&revocations, NOON + LIFE));
        revocations.revoke(Revoked::User("bob"), NOON + LIFE);
        assert_eq!(revocations.at.len(), 1, "what is over is forgotten");
        // Twice is from the second time on.
        let mut again = revoked(Revoked::User("alice"));
        again.revoke(Revoked::User("alice"), NOON + 100);
        let between = alice(Some(NOON + 50));
        assert!(again.is_revoked(&between, between.issued, NOON + 100));
    }

    #[test]
    fn revocations_are_bounded_and_the_oldest_go() {
        let mut revocations = revoked(Revoked::Token("j1"));
        for number in 0..MOST - 1 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            revocations.at.insert(key, NOON + 1);
        }
        assert!(revocations.is_revoked(&alice(None), None, NOON + 2));
        revocations.revoke(Revoked::User("bob"), NOON + 2);
        assert_eq!(revocations.at.len(), MOST);
        assert!(!revocations.is_revoked(&alice(None), None, NOON + 2));
    }

    #[test]
    fn a_file_keeps_revocations_and_names_no_user() {
        let mut revocations = revoked(Revoked::User("alice"));
        revocations.revoke(Revoked::Token("j1"), NOON + 1);
        revocations.revoke(Revoked::Credential([7; 32]), NOON + 2);
        let file = revocations.to_json();
        assert!(!file.contains("alice") && !file.contains("j1"), "{file}");
        assert_eq!(Revocations::from_json(&file), Ok(revocations));
        let none = Revocations::default();
        assert_eq!(Revocations::from_json(&none.to_json()), Ok(none));
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let file = revoked(Revoked::User("alice")).to_json();
        for damaged in [
            String::new(),
            "{}".into(),
            "[]".into(),
            file.replace("\"layout\":1", "\"layout\":2"),
            file.replace("\"layout\":1,", ""),
            file.replace("layout", "layouts"),
            file.replace("[[\"", "[[\"A"),
            file.replace("1700000000", "-1"),
            file[..file.len() - 1].to_owned(),
            format!("{file}{file}"),
        ] {
            assert!(Revocations::from_json(&damaged).is_err(), "{damaged}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,100}") {
            let _ = Revocations::from_json(&text);
        }
    }
}
