//! What a client's packets mean.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::protocol::{ClientEvent, Connect, Input, Message, Violation};

fn read(messages: &[Message<'_>]) -> Result<Vec<Input>, Violation> {
    let (mut codec, mut inputs) = (codec("/admin"), Vec::new());
    for message in messages {
        codec.decode(*message, &mut inputs)?;
    }
    Ok(inputs)
}

fn read_text(text: &str) -> Result<Vec<Input>, Violation> {
    read(&[Message::Text(text.as_bytes())])
}

fn event(name: &str, args: serde_json::Value, ack: Option<u64>) -> ClientEvent {
    ClientEvent {
        name: name.into(),
        args: args.as_array().unwrap().clone(),
        attachments: Vec::new(),
        ack,
    }
}

#[test]
fn connect_presents_the_texts_of_its_auth() {
    let text = |text: &str| Some(text.to_owned());
    for packet in ["0", "0/admin,", "0/admin", "0{}"] {
        let nothing = Input::Connect(Connect::default());
        assert_eq!(read_text(packet), Ok(vec![nothing]), "{packet}");
    }
    assert_eq!(
        read_text(r#"0/admin,{"token":"t","csrf":"c","pid":"p","offset":"k3-45","new":[1]}"#),
        Ok(vec![Input::Connect(Connect {
            token: text("t"),
            csrf: text("c"),
            pid: text("p"),
            offset: text("k3-45"),
        })])
    );
    assert_eq!(
        read_text(r#"0/admin,{"token":1,"csrf":null,"pid":["p"]}"#),
        Ok(vec![Input::Connect(Connect::default())])
    );
}

#[test]
fn connect_says_no_secret_in_its_debug_form() {
    let found = read_text(r#"0{"token":"hush"}"#).unwrap();
    assert!(!format!("{found:?}").contains("hush"));
}

#[test]
fn event_is_read_with_its_name_and_acknowledgement() {
    for (text, expected) in [
        (
            r#"2/admin,["join",{"room":7},null]"#,
            event("join", json!([{"room": 7}, null]), None),
        ),
        (r#"2/admin,12["join"]"#, event("join", json!([]), Some(12))),
        (r#"2[1,"a"]"#, event("1", json!(["a"]), None)),
        (
            r#"2["a",{"_placeholder":true,"num":3}]"#,
            event("a", json!([{"_placeholder": true, "num": 3}]), None),
        ),
        (r#"50-["a"]"#, event("a", json!([]), None)),
    ] {
        assert_eq!(read_text(text), Ok(vec![Input::Event(expected)]), "{text}");
    }
}

#[test]
fn event_with_attachments_is_whole_with_the_last_one() {
    let head =
        r#"52-/admin,9["up",{"a":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":0}]"#;
    let mut codec = codec("/admin");
    let mut inputs = Vec::new();
    for message in [
        Message::Text(head.as_bytes()),
        Message::Binary(&[1, 2]),
        Message::Binary(&[0xff]),
    ] {
        assert_eq!(inputs, []);
        codec.decode(message, &mut inputs).unwrap();
    }
    let args = json!([{"a": {"_placeholder": true, "num": 1}}, {"_placeholder": true, "num": 0}]);
    let expected = ClientEvent {
        attachments: vec![Bytes::from_static(&[1, 2]), Bytes::from_static(&[0xff])],
        ..event("up", args, Some(9))
    };
    assert_eq!(inputs, [Input::Event(expected)]);
    codec
        .decode(Message::Text(b"1/admin,"), &mut inputs)
        .unwrap();
    assert_eq!(inputs[1], Input::Leave);
}

#[test]
fn acknowledgement_of_a_client_means_nothing() {
    assert_eq!(read_text("3/admin,1[]"), Ok(Vec::new()));
    let answer = [
        Message::Text(br#"61-/admin,1[{"_placeholder":true,"num":0}]"#),
        Message::Binary(b"x"),
        Message::Text(br#"2["a"]"#),
    ];
    let next = Input::Event(event("a", json!([]), None));
    assert_eq!(read(&answer), Ok(vec![next]));
}

#[test]
fn text_cut_inside_a_character_is_read() {
    let cut = r#"2["say","\ud83d","\ude00\ud83d\ude00\\ud83d"]"#;
    let args = json!(["\u{fffd}", "\u{fffd}😀\\ud83d"]);
    assert_eq!(
        read_text(cut),
        Ok(vec![Input::Event(event("say", args, None))])
    );
}

#[test]
fn packet_that_no_client_may_send_closes() {
    let deep = format!(r#"2["a",{}{}]"#, "[".repeat(64), "]".repeat(64));
    let wide = format!(r#"0{{"a":[{}1]}}"#, "1,".repeat(10_001));
    for text in [
        "",
        "9",
        "0[]",
        "0null",
        r#"0"token""#,
        "0{",
        "1{}",
        "2",
        "2[]",
        "2{}",
        "2[null]",
        r#"2["a"] x"#,
        r#"2["disconnect"]"#,
        r#"2["a",NaN]"#,
        r#"4{"message":"x"}"#,
        "511-[]",
        r#"51-["a",{"_placeholder":true,"num":1}]"#,
        r#"51-["a",{"_placeholder":true,"num":-1}]"#,
        r#"51-["a",{"_placeholder":true,"num":"0"}]"#,
        r#"51-["a",{"_placeholder":true}]"#,
        r#"51-["a",[{"_placeholder":true,"num":0}],{"b":{"_placeholder":true,"num":0}}]"#,
        r#"50-["a",{"_placeholder":true,"num":0}]"#,
        &deep,
        &wide,
    ] {
        let found = read_text(text);
        assert!(
            matches!(found, Err(Violation::Close { code: 4000, .. })),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn attachment_out_of_turn_closes() {
    let begun = Message::Text(br#"51-["a",{"_placeholder":true,"num":0}]"#);
    for messages in [
        &[Message::Binary(b"x")][..],
        &[begun, Message::Text(b"1")],
        &[begun, Message::Binary(b"x"), Message::Binary(b"x")],
    ] {
        let found = read(messages);
        assert!(matches!(found, Err(Violation::Close { code: 4000, .. })));
    }
}

proptest! {
    #[test]
    fn packets_of_hostile_bytes_are_read_or_close(
        packets in prop::collection::vec((any::<bool>(), "([0-6](1-)?(/a,)?[0-9]{0,3})?", any::<Vec<u8>>(), "[\\[\\]{}\",:0-9a]*"), 0..5),
    ) {
        let (mut codec, mut inputs) = (codec("/a"), Vec::new());
        for (is_text, head, bytes, rest) in &packets {
            let text = format!("{head}{rest}");
            let message = match is_text {
                true => Message::Text(text.as_bytes()),
                false => Message::Binary(bytes),
            };
            if let Err(violation) = codec.decode(message, &mut inputs) {
                let is_bad_packet = matches!(violation, Violation::Close { code: 4000, .. });
                prop_assert!(is_bad_packet);
            }
        }
    }

    #[test]
    fn event_of_any_json_is_read_as_it_was_sent(text: String, number: i64, ack: u32) {
        let args = json!([text, number, {"a": [text]}]);
        let name = format!("e{text}");
        let mut list = vec![json!(name)];
        list.extend(args.as_array().unwrap().clone());
        let packet = format!("2/admin,{ack}{}", serde_json::Value::from(list));
        let expected = Input::Event(event(&name, args, Some(ack.into())));
        prop_assert_eq!(read_text(&packet), Ok(vec![expected]));
    }
}
