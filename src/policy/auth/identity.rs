//! The identity of a subject that an authority has verified. Pure.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::{By, Require, Route, Share};
use crate::json::{self, tokens};

/// A subject that an `[auth.NAME]` knows.
#[derive(Clone, PartialEq)]
pub struct Identity {
    /// NAME of the `[auth]` that verified it.
    pub(crate) auth: Arc<str>,
    /// The user: a token's subject, a session's user, the owner of a key.
    pub(crate) user: String,
    /// Their tenant.
    pub(crate) tenant: Option<String>,
    /// Their roles.
    pub(crate) roles: Vec<String>,
    /// All that the authority says of them.
    pub(crate) claims: Map<String, Value>,
    /// Unix seconds of their credential's end (`exp`); `None` where it has none of its own.
    pub(crate) expires: Option<u64>,
    /// Seconds beyond it that clocks are forgiven.
    pub(crate) leeway: u64,
    /// A token's `jti`.
    pub(crate) token_id: Option<String>,
    /// Unix seconds at which a token was issued (`iat`).
    pub(crate) issued: Option<u64>,
    /// SHA-256 of the credential, whatever it was.
    pub(crate) credential: [u8; 32],
}

/// Why a known subject is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// None of the roles.
    Role,
    /// Another value of this claim, or none.
    Claim(String),
    /// This claim, which the route shares by, is missing.
    Share(String),
    /// The route's rollout goes by tenant, and there is none.
    Tenant,
}

impl Unfit {
    /// One sentence for a person: the names are the route's own, and no value is shown.
    pub(crate) fn detail(&self) -> Cow<'static, str> {
        match self {
            Unfit::Role => "none of the roles that this route requires".into(),
            Unfit::Claim(name) => {
                format!("the claim `{name}` is missing, or not what this route requires").into()
            }
            Unfit::Share(name) => {
                format!("the claim `{name}`, which this route shares by, is missing").into()
            }
            Unfit::Tenant => "this route's rollout goes by tenant, and there is none".into(),
        }
    }
}

impl Identity {
    /// What distinguishes this subject from every other: the authority (a name is unique within its issuer only), the tenant,
    /// the user. The bytes of the credentials are no part of it, so a refreshed token or another cookie keeps the subject.
    pub fn principal(&self) -> [u8; 32] {
        let tenant = self.tenant.as_deref();
        let tenants = [
            tenant.map_or("no tenant", |_| "tenant"),
            tenant.unwrap_or_default(),
        ];
        let parts = ["subject", &self.auth, self.issuer(), &self.user];
        digest(parts.into_iter().chain(tenants))
    }

    /// One pool for all subjects of an issuer that have the same values of these claims.
    ///
    /// # Errors
    /// The claim that the user lacks, or a part of it: such a user shares a pool with no other.
    pub(crate) fn pool(&self, claims: &[String]) -> Result<[u8; 32], Unfit> {
        let mut parts = vec![
            "claims".to_owned(),
            self.auth.to_string(),
            self.issuer().to_owned(),
        ];
        for name in claims {
            let value = self.claim(name).filter(|value| is_whole(value));
            let value = value.ok_or_else(|| Unfit::Share(name.clone()))?;
            // What a policy's own keys name is nothing that a member of that name could be.
            if matches!(value, Cow::Owned(_)) {
                parts.push("of the policy".to_owned());
            }
            parts.extend([name.clone(), value.to_string()]);
        }
        Ok(digest(parts.iter().map(String::as_str)))
    }

    /// Every user that this policy admits. Another policy's users are apart, on the same route too: no client reads with
    /// credentials of a kind that it could not have shown.
    pub(crate) fn admitted(&self) -> [u8; 32] {
        digest(["admitted", &self.auth].into_iter())
    }

    fn issuer(&self) -> &str {
        let issuer = self.claims.get("iss").and_then(Value::as_str);
        issuer.unwrap_or_default()
    }

    /// A claim by its name, or by a JSON Pointer; `null` is as good as none. Where there is no member of that name `user`, `tenant`
    /// and `roles` are what the policy's own keys name.
    pub(crate) fn claim(&self, name: &str) -> Option<Cow<'_, Value>> {
        if self.claims.contains_key(name) || name.starts_with('/') {
            return lookup(&self.claims, name).map(Cow::Borrowed);
        }
        let value = match name {
            "user" => self.user.clone().into(),
            "tenant" => self.tenant.clone()?.into(),
            "roles" if !self.roles.is_empty() => {
                let mut roles = self.roles.clone();
                roles.sort_unstable();
                roles.dedup();
                roles.into()
            }
            _ => return None,
        };
        Some(Cow::Owned(value))
    }

    /// Whether they are what a route requires.
    ///
    /// # Errors
    /// What they lack.
    pub fn fits(&self, require: &Require) -> Result<(), Unfit> {
        let has_role = || require.roles.iter().any(|role| self.roles.contains(role));
        if !require.roles.is_empty() && !has_role() {
            return Err(Unfit::Role);
        }
        let has = |(name, wanted): &(String, Vec<Value>)| match self.claim(name).as_deref() {
            Some(Value::Array(held)) => held.iter().any(|value| wanted.contains(value)),
            Some(value) => wanted.contains(value),
            None => false,
        };
        match require.claims.iter().find(|claim| !has(claim)) {
            None => Ok(()),
            Some((name, _)) => Err(Unfit::Claim(name.clone())),
        }
    }

    /// Whether they may follow a route's topic: what it requires, what it shares by, and what its rollout goes by.
    ///
    /// # Errors
    /// What they lack.
    pub(crate) fn may_follow(&self, route: &Route) -> Result<(), Unfit> {
        if let Some(require) = &route.require {
            self.fits(require)?;
        }
        if let Share::Claims(claims) = &route.share {
            self.pool(claims)?;
        }
        let by_tenant = (route.rollout.as_ref()).is_some_and(|rollout| rollout.by == By::Tenant);
        match by_tenant && self.tenant.is_none() {
            true => Err(Unfit::Tenant),
            false => Ok(()),
        }
    }

    /// Whether the other is the same subject, whichever policy accepted it.
    pub(crate) fn is_same_subject(&self, other: &Identity) -> bool {
        let is_one_policy = self.auth == other.auth;
        (&self.tenant, &self.user) == (&other.tenant, &other.user)
            && (!is_one_policy || self.issuer() == other.issuer())
    }

    /// Unix seconds from which on the credential is invalid, with leeway for clocks.
    pub(crate) fn ends(&self) -> Option<u64> {
        Some(self.expires?.saturating_add(self.leeway))
    }
}

/// Never prints claims or tokens.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

/// A member of a document by its name, or by a JSON Pointer (RFC 6901); `null` is as good as none.
pub(crate) fn lookup<'v>(document: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    let found = match name.strip_prefix('/') {
        None => document.get(name),
        Some(path) => {
            let (first, rest) = match path.split_once('/') {
                Some((first, rest)) => (first, Some(rest)),
                None => (path, None),
            };
            let member = document.get(&first.replace("~1", "/").replace("~0", "~"));
            match rest {
                None => member,
                Some(rest) => member.and_then(|member| member.pointer(&format!("/{rest}"))),
            }
        }
    };
    found.filter(|value| !value.is_null())
}

/// Whether a claim holds no `null`, which is also what stands for what cannot be held exactly.
fn is_whole(claim: &Value) -> bool {
    match claim {
        Value::Null => false,
        Value::Array(items) => items.iter().all(is_whole),
        Value::Object(members) => members.values().all(is_whole),
        _ => true,
    }
}

/// Whether a document says something there that its values cannot: a rounded number, half a character, one of two members of
/// the same name. With it two users would be one.
pub(crate) fn is_lost(document: json::Value<'_>, values: &Map<String, Value>, name: &str) -> bool {
    let tokens = match name.starts_with('/') {
        true => tokens(name),
        false => vec![name.to_owned()],
    };
    let says_more = |found: json::Value<'_>| found.form() != json::Form::Null;
    lookup(values, name).is_none() && document.every(&tokens).into_iter().any(says_more)
}

/// SHA-256 over parts that cannot run into each other.
pub(crate) fn digest<'p>(parts: impl Iterator<Item = &'p str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alice() -> Identity {
        let claims = json!({
            "sub": "alice", "tenantId": "t1", "level": 3, "none": null,
            "groups": ["ops", "dev"], "realm": {"a/b": {"roles": ["x"]}},
        });
        Identity {
            auth: "jwt".into(),
            user: "alice".into(),
            tenant: Some("t1".into()),
            roles: vec!["user".into(), "editor".into()],
            claims: claims.as_object().unwrap().clone(),
            expires: Some(100),
            leeway: 5,
            token_id: None,
            issued: None,
            credential: [0; 32],
        }
    }

    fn require(roles: &[&str], claims: &[(&str, Value)]) -> Require {
        Require {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            claims: (claims.iter())
                .map(|(name, value)| {
                    let values = value.as_array().cloned();
                    ((*name).to_owned(), values.unwrap_or(vec![value.clone()]))
                })
                .collect(),
        }
    }

    #[test]
    fn any_role_will_do_and_every_claim_is_needed() {
        let fits = |roles: &[&str], claims: &[(&str, Value)]| alice().fits(&require(roles, claims));
        assert_eq!(fits(&[], &[]), Ok(()));
        assert_eq!(fits(&["admin", "editor"], &[]), Ok(()));
        assert_eq!(fits(&["admin"], &[]), Err(Unfit::Role));
        assert_eq!(fits(&["Editor"], &[]), Err(Unfit::Role));
        assert_eq!(
            fits(&[], &[("tenantId", json!("t1")), ("level", json!(3))]),
            Ok(())
        );
        assert_eq!(fits(&[], &[("tenantId", json!(["t0", "t1"]))]), Ok(()));
        assert_eq!(fits(&[], &[("groups", json!("dev"))]), Ok(()));
        assert_eq!(fits(&[], &[("/realm/a~1b/roles", json!("x"))]), Ok(()));
        for (name, value) in [
            ("tenantId", json!("t2")),
            ("level", json!("3")),
            ("none", json!(null)),
            ("missing", json!("")),
            ("/realm/a/b/roles", json!("x")),
            ("groups", json!("")),
        ] {
            let outcome = fits(&[], &[("sub", json!("alice")), (name, value)]);
            assert_eq!(outcome, Err(Unfit::Claim(name.into())), "{name}");
        }
    }

    #[test]
    fn subject_is_policy_tenant_and_user_and_no_more() {
        let principal = |change: fn(&mut Identity)| {
            let mut identity = alice();
            change(&mut identity);
            identity.principal()
        };
        let alice = alice().principal();
        assert_eq!(principal(|i| i.credential = [1; 32]), alice);
        assert_eq!(principal(|i| i.expires = None), alice);
        assert_eq!(principal(|i| i.roles.clear()), alice);
        let others = [
            principal(|i| i.auth = "other".into()),
            principal(|i| i.user = "bob".into()),
            principal(|i| i.tenant = None),
            principal(|i| i.tenant = Some("t2".into())),
            // Two issuers of one policy may each have an alice.
            principal(|i| _ = i.claims.insert("iss".into(), json!("https://other.test"))),
            // Where one ends and the other begins is no way around.
            principal(|i| (i.auth, i.user) = ("jwta".into(), "lice".into())),
            principal(|i| (i.user, i.tenant) = ("alicet1".into(), None)),
        ];
        assert!(!others.contains(&alice));
    }

    #[test]
    fn a_user_that_lacks_a_claim_is_pooled_with_no_other() {
        let pool = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            alice().pool(&names)
        };
        assert!(pool(&["tenantId"]).is_ok());
        assert_ne!(pool(&["tenantId"]), pool(&["sub"]));
        for missing in ["missing", "none", "/realm/none"] {
            let lacks = Err(Unfit::Share(missing.into()));
            assert_eq!(pool(&["tenantId", missing]), lacks);
        }
        let mut half = alice();
        half.claims.insert("tenantId".into(), json!([{"id": null}]));
        let lacks = Err(Unfit::Share("tenantId".into()));
        assert_eq!(half.pool(&["tenantId".to_owned()]), lacks);
        let mut number = alice();
        number.claims.insert("tenantId".into(), json!(1));
        let mut text = alice();
        text.claims.insert("tenantId".into(), json!("1"));
        let names = ["tenantId".to_owned()];
        assert_ne!(number.pool(&names), text.pool(&names));
    }

    #[test]
    fn what_a_policys_own_keys_name_is_a_claim_too() {
        let pool = |user: &Identity, name: &str| user.pool(&[name.to_owned()]);
        let mut bob = alice();
        bob.user = "bob".into();
        bob.roles = vec!["editor".into(), "user".into(), "user".into()];
        assert_eq!(pool(&alice(), "roles"), pool(&bob, "roles"), "in any order");
        assert_ne!(pool(&alice(), "user"), pool(&bob, "user"));
        assert_eq!(
            alice().fits(&require(&[], &[("roles", json!("editor"))])),
            Ok(())
        );
        // A member of that name is what is meant, and never taken for the other.
        bob.claims.insert("roles".into(), json!(["editor", "user"]));
        assert_ne!(pool(&alice(), "roles"), pool(&bob, "roles"));
        bob.claims.insert("roles".into(), json!(null));
        bob.roles.clear();
        assert_eq!(pool(&bob, "roles"), Err(Unfit::Share("roles".into())));
        bob.tenant = None;
        assert_eq!(pool(&bob, "tenant"), Err(Unfit::Share("tenant".into())));
    }

    #[test]
    fn users_that_one_policy_admits_are_alike_and_no_others() {
        let mut bob = alice();
        (bob.user, bob.tenant) = ("bob".into(), None);
        bob.claims.insert("iss".into(), json!("https://other.test"));
        assert_eq!(bob.admitted(), alice().admitted());
        bob.auth = "other".into();
        assert_ne!(bob.admitted(), alice().admitted());
        assert_ne!(alice().pool(&[]).unwrap(), alice().admitted());
    }
}
