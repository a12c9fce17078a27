//! The fields and cookies that an authority is asked with.

use super::*;

#[test]
fn an_authority_is_asked_with_its_own_cookies_and_fields_alone() {
    let policy = forward(
        &[From::Header],
        Some(&["session", "device"]),
        &["authorization", "x-device"],
    );
    for (lines, expected) in [
        (
            &[
                "cookie: a=1; session=s;  device=d ; b=2",
                "cookie: session=t",
            ][..],
            "session Cookie cookie: session=s; device=d; session=t",
        ),
        // What a backend takes for the session is shown to the authority too.
        (&["cookie: session =s"], "session Cookie cookie: session =s"),
        (&["cookie: session"], "session Cookie cookie: session"),
        (&["cookie: sessions=s; Session=s"], "none"),
        (
            &["authorization: Bearer t", "accept: x", "cookie: session=s"],
            "session Header cookie: session=s | authorization: Bearer t",
        ),
        (&["x-device: d"], "session Header x-device: d"),
        (
            &["x-device: d", "authorization: Bearer t"],
            "session Header authorization: Bearer t | x-device: d",
        ),
        (
            &["authorization: Bearer t", "authorization: Bearer u"],
            "authorization is there more than once",
        ),
        (
            &["x-device: d", "x-device: d"],
            "x-device is there more than once",
        ),
        (&["accept: x"], "none"),
        (&[], "none"),
    ] {
        assert_eq!(look_at(&policy, lines), expected, "{lines:?}");
    }
    let all = forward(&[], None, &[]);
    let found = look_at(
        &all,
        &["cookie: a=é; crossfade_x=1; b", "authorization: Bearer t"],
    );
    assert_eq!(found, "session Cookie cookie: a=\u{fffd}; b");
}

#[test]
fn a_token_from_elsewhere_stands_in_for_authorization() {
    let from = [From::Header, From::Subprotocol, From::Message];
    let policy = [forward(&from, None, &["authorization"])];
    let extras = Extras {
        subprotocol: Some("t".into()),
        message: Some("u".into()),
        ..Extras::default()
    };
    let session = ["cookie: session=s"];
    assert_eq!(
        look_in(&policy, &session, &extras),
        "session Subprotocol cookie: session=s | authorization: Bearer t",
        "cookies go along, and do not come first"
    );
    let basic = ["authorization: Basic YTpi"];
    let bearer = ["authorization: Bearer h"];
    let expected = "session Subprotocol authorization: Bearer t";
    assert_eq!(look_in(&policy, &basic, &extras), expected);
    let expected = "session Header authorization: Bearer h";
    assert_eq!(
        look_in(&policy, &bearer, &extras),
        expected,
        "what stands first"
    );
    for token in ["", "a b", "a,b", "a\r\nx: y", "é", "a\tb", "\0"] {
        let extras = Extras {
            message: Some(token.into()),
            ..Extras::default()
        };
        let found = look_in(&policy, &[], &extras);
        let refused = ["the token is empty", "the token cannot stand in a header"];
        assert!(refused.contains(&&*found), "{token:?}: {found}");
    }
}
