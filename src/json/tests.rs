use serde_json::json;

use super::*;

fn are_equal(a: &str, b: &str) -> bool {
    let (a, b) = (
        Value::read(a.as_bytes()).unwrap(),
        Value::read(b.as_bytes()).unwrap(),
    );
    let forth = equal(a, b, &Vec::new());
    assert_eq!(equal(b, a, &Vec::new()), forth);
    forth
}

#[test]
fn numbers_are_equal_where_they_are_the_same_decimal() {
    for (a, b) in [
        ("1", "1.0"),
        ("1", "1e0"),
        ("1.50", "15E-1"),
        ("100", "1e+2"),
        ("1e400", "10e399"),
        ("0.1e401", "1E0400"),
        ("0", "-0"),
        ("0", "0e99999999999999999999"),
        ("-0.0", "0e5"),
        ("1e99999999999999999999", "1e99999999999999999999"),
    ] {
        assert!(are_equal(a, b), "{a} {b}");
    }
    for (a, b) in [
        ("1", "-1"),
        ("117.63331139400017", "117.63331139400016"),
        ("9007199254740991.0", "9007199254740992.0"),
        ("9007199254740993", "9007199254740992"),
        ("18446744073709551616", "18446744073709551617"),
        ("1000000000000000000000", "1000000000000000000001"),
        ("0.1", "0.10000000000000000000000000001"),
        ("1e400", "1e401"),
        ("1e-400", "0"),
        ("1e99999999999999999999", "1e99999999999999999998"),
        ("1", "\"1\""),
        ("1", "true"),
    ] {
        assert!(!are_equal(a, b), "{a} {b}");
    }
}

proptest::proptest! {
    #[test]
    fn a_number_is_the_scalar_that_it_reads_as(
        a in "-?(0|[1-9][0-9]{0,3}0{0,3})([.][0-9]{1,3})?(e[-+]?[0-9]{1,2})?",
        b in "-?(0|[1-9][0-9]{0,1}0{0,3})",
    ) {
        let scalar = |text: &str| Scalar::read(text.as_bytes()).unwrap();
        for (wanted, found) in [(&a, &b), (&b, &a), (&a, &a), (&b, &b)] {
            let is_it = scalar(wanted).is(Value::read(found.as_bytes()).unwrap());
            proptest::prop_assert_eq!(is_it, scalar(wanted) == scalar(found), "{} {}", wanted, found);
        }
    }
}

#[test]
fn equality_ignores_spelling_and_the_last_member_counts() {
    for (a, b) in [
        (r#"{"a":1,"b":[2]}"#, r#" { "b" : [ 2.0 ] , "a" : 1 } "#),
        (r#"{"é/":"\n"}"#, r#"{"\u00e9\/":"\u000A"}"#),
        (r#""\ud83d\ude00""#, "\"\u{1f600}\""),
        (r#""\ud83d""#, r#""\uD83D""#),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":3,"a":2}"#),
        (r#"{"a":1,"b":1,"a":2}"#, r#"{"b":1,"a":2}"#),
        ("[[],{}]", "[ [ ] , { } ]"),
    ] {
        assert!(are_equal(a, b), "{a} {b}");
    }
    for (a, b) in [
        (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":1}"#),
        (r#"{"a":null}"#, "{}"),
        (r#"{"a":1}"#, r#"{"b":1}"#),
        (r#""\ud83d""#, r#""\ud83c""#),
        ("[1,2]", "[2,1]"),
        ("[1]", "[1,1]"),
        ("[]", "{}"),
    ] {
        assert!(!are_equal(a, b), "{a} {b}");
    }
}

#[test]
fn what_is_too_deep_is_json_and_not_taken_apart() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(Value::read(nested(DEPTH).as_bytes()).is_ok());
    for levels in [DEPTH + 1, 200_000] {
        let text = nested(levels);
        let read = Value::read(text.as_bytes());
        assert_eq!(read.err(), Some(Unread::Deep));
    }
    for text in ["", " ", "[1", "[1] 2", "01", "\"\\x\"", "nul", "{\"a\"}"] {
        assert_eq!(
            Value::read(text.as_bytes()).err(),
            Some(Unread::NotJson),
            "{text}"
        );
    }
    assert_eq!(Value::read(b"\"\xff\"").err(), Some(Unread::NotJson));
}

#[test]
fn a_pointer_leads_to_what_was_written() {
    let text = r#" {"a/b": [1, {"~": 1.50}], "a": 1, "a": "x", "": null} "#;
    let document = Value::read(text.as_bytes()).unwrap();
    let at = |pointer: &str| {
        let found = document.pointer(&tokens(pointer))?;
        Some(String::from_utf8_lossy(found.text()).into_owned())
    };
    assert_eq!(at("").as_deref(), Some(text.trim()));
    assert_eq!(at("/a~1b/1/~0").as_deref(), Some("1.50"));
    assert_eq!(at("/a").as_deref(), Some("\"x\""));
    assert_eq!(at("/").as_deref(), Some("null"));
    for nowhere in ["/b", "/a~1b/2", "/a~1b/01", "/a~1b/+1", "/a~1b/-", "/a/0"] {
        assert_eq!(at(nowhere), None, "{nowhere}");
    }
}

#[test]
fn only_what_is_exact_becomes_a_value_of_serde_json() {
    let exact = |text: &str| Value::read(text.as_bytes()).unwrap().exact(2);
    assert_eq!(
        exact(r#"{"a":[1,-2,0.1,"x",true,null],"b":{"c":[]}}"#),
        json!({"a": [1, -2, 0.1, "x", true, null], "b": {"c": null}})
    );
    assert_eq!(exact("18446744073709551615"), json!(u64::MAX));
    for odd in [
        "18446744073709551617",
        "1e400",
        "0.10000000000000000000001",
        r#""\ud83d""#,
    ] {
        assert_eq!(exact(odd), json!(null), "{odd}");
    }
    assert_eq!(
        exact(r#"{"a":1,"a":1,"\ud83d":1}"#),
        json!({"a": null, "\u{fffd}\u{fffd}\u{fffd}": null})
    );
}

#[test]
fn what_programs_read_differently_is_odd() {
    let is_odd = |text: &str| Value::read(text.as_bytes()).unwrap().is_odd();
    for odd in [r#"["\ud83d"]"#, r#"{"\ude00":1}"#, "[1e400]", "-1e309"] {
        assert!(is_odd(odd), "{odd}");
    }
    for plain in [
        r#"["\ud83d\ude00"]"#,
        "[1e308, 1e-400, 18446744073709551617]",
        "{}",
    ] {
        assert!(!is_odd(plain), "{plain}");
    }
}
