//! What a credential is worth beyond its judgement: whether a browser sent it by itself, and what of it goes upstream.

use tokio::time::Instant;

use super::*;
use crate::policy::auth::Authenticated;
use crate::policy::auth::identity::Identity;

#[test]
fn foreign_page_cannot_hide_a_cookie_behind_its_own_fields() {
    let from = [From::Header, From::Query("token".into()), From::Subprotocol];
    let fields = ["authorization", "accept-language", "x-session"];
    let session = forward(&from, None, &fields);
    let policy = jwt(&[From::Header, From::Cookie("token".into())]);
    let query = Extras {
        query: vec![("token".into(), "q".into())],
        ..Extras::default()
    };
    let nothing = Extras::default();
    for (auth, lines, extras, is_ambient) in [
        (&session, &["cookie: s=1"][..], &nothing, true),
        (
            &session,
            &["cookie: s=1", "accept-language: de"],
            &nothing,
            true,
        ),
        (
            &session,
            &["cookie: s=1", "authorization: Basic YTpi"],
            &nothing,
            true,
        ),
        (&session, &["authorization: basic YTpi"], &nothing, true),
        (&session, &["authorization: Negotiate YII"], &nothing, true),
        (&session, &["cookie: s=1"], &query, true),
        (&session, &["accept-language: de"], &query, false),
        (
            &session,
            &["cookie: s=1", "authorization: Bearer t"],
            &nothing,
            false,
        ),
        // Such a field may come from the browser itself, or from a proxy in front: the page did not set it.
        (&session, &["cookie: s=1", "x-session: 1"], &nothing, true),
        (&session, &["authorization: Bearer t"], &query, false),
        (&policy, &["cookie: token=t"], &nothing, true),
        (
            &policy,
            &["authorization: Bearer t", "cookie: token=t"],
            &nothing,
            false,
        ),
    ] {
        let found = find(std::slice::from_ref(auth), &headers(lines), extras);
        let found = found.unwrap().unwrap();
        assert_eq!(
            found.is_ambient(),
            is_ambient,
            "{lines:?}: {}",
            seen(&found)
        );
    }
}

#[test]
fn what_a_backend_would_not_see_is_given_to_it() {
    let ours = [
        CredentialPlace::Subprotocol,
        CredentialPlace::Message,
        CredentialPlace::Query,
    ];
    assert!(ours.iter().all(|place| place.is_ours_alone()));
    let theirs = [
        CredentialPlace::Header,
        CredentialPlace::Cookie,
        CredentialPlace::Ticket,
    ];
    assert!(!theirs.iter().any(|place| place.is_ours_alone()));
}

/// `Cookie` and `Authorization` as a backend receives them that serves several users.
fn judged(auth: &Arc<Auth>, lines: &[&str], extras: &Extras) -> [Option<String>; 2] {
    let headers = headers(lines);
    let found = find(std::slice::from_ref(auth), &headers, extras);
    let admission = Authenticated {
        found: found.unwrap().unwrap(),
        identity: Arc::new(Identity {
            auth: auth.name.clone(),
            user: "alice".into(),
            tenant: None,
            roles: Vec::new(),
            claims: Default::default(),
            expires: None,
            leeway: 0,
            token_id: None,
            issued: None,
            credential: [0; 32],
        }),
        vouched_at: Instant::now(),
        vouched_unix: 0,
        ticketed: None,
    };
    let came = |name| headers.get(name).cloned();
    let (cookie, authorization) = admission.judged(came(COOKIE), came(AUTHORIZATION));
    let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
    [cookie.map(text), authorization.map(text)]
}

#[test]
fn shared_answer_goes_upstream_with_judged_credentials_only() {
    let from = [
        From::Header,
        From::Cookie("id".into()),
        From::Cookie("token".into()),
        From::Subprotocol,
    ];
    let (token, key) = (jwt(&from), keys(&[From::Header]));
    let session = forward(&[From::Header], Some(&["s"]), &["authorization"]);
    let said = Extras {
        subprotocol: Some("said".into()),
        ..Extras::default()
    };
    let nothing = Extras::default();
    for (auth, lines, extras, cookie, authorization) in [
        (
            &token,
            &["cookie: a=1; token=t; s=2", "authorization: Basic x"][..],
            &nothing,
            "token=t",
            "",
        ),
        (
            &token,
            &["cookie: a=1", "authorization: Bearer t"],
            &nothing,
            "",
            "Bearer t",
        ),
        (
            &token,
            &["cookie: a=1", "authorization: Basic x"],
            &said,
            "",
            "Bearer said",
        ),
        (
            &key,
            &["cookie: a=1", "x-api-key: k", "authorization: Bearer t"],
            &nothing,
            "",
            "",
        ),
        (
            &key,
            &["cookie: a=1", "authorization: Bearer k"],
            &nothing,
            "",
            "Bearer k",
        ),
        (&session, &["cookie: a=1; s=2"], &nothing, "s=2", ""),
        (
            &session,
            &["cookie: a=1; s=2", "authorization: Bearer t"],
            &nothing,
            "s=2",
            "Bearer t",
        ),
    ] {
        let wanted =
            [cookie, authorization].map(|text| Some(text.to_owned()).filter(|t| !t.is_empty()));
        assert_eq!(judged(auth, lines, extras), wanted, "{lines:?}");
    }
}
