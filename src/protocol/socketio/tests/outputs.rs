//! What the sidecar itself says.

use super::*;
use crate::error::{Code, Refusal};
use crate::event::{End, State};
use crate::protocol::{DrainedAt, EventTag, Output, ResBody, Tag};

fn said(mut codec: SocketIoCodec, output: &Output<'_>) -> Vec<Packet> {
    let mut packets = Vec::new();
    codec.encode(output, &mut |packet| packets.push(packet));
    packets
}

fn texts(namespace: &str, output: &Output<'_>) -> Vec<String> {
    let packets = said(codec(namespace), output);
    packets.into_iter().map(text_of).collect()
}

fn tag(ack: Option<u64>, error: Option<&str>) -> Tag {
    Tag::Event(Box::new(EventTag {
        ack,
        event: "join".into(),
        error: error.map(Arc::from),
        reply: None,
    }))
}

fn res<'a>(id: &'a Tag, status: u16, body: ResBody<'a>) -> Output<'a> {
    Output::Res {
        id,
        status,
        headers: &[],
        body,
    }
}

#[test]
fn granted_event_is_acknowledged_where_it_asks() {
    let ok = |id: Tag| {
        let output = Output::Ok { id: &id, sub: None };
        texts("/", &output)
    };
    let granted = Output::Ok {
        id: &tag(Some(12), None),
        sub: Some((3, at(4), true)),
    };
    assert_eq!(
        texts("/admin", &granted),
        [r#"43/admin,12[{"status":200}]"#]
    );
    assert_eq!(ok(tag(Some(0), Some("failed"))), [r#"430[{"status":200}]"#]);
    for silent in [tag(None, Some("failed")), Tag::None, Tag::Number(0)] {
        assert!(ok(silent).is_empty());
    }
}

#[test]
fn refused_event_is_told_once() {
    let mut refusal = Refusal::new(Code::RateLimited, "too \"fast\"");
    refusal.retry_ms = Some(500);
    let told = |id: &Tag| {
        texts(
            "/admin",
            &Output::Err {
                id,
                refusal: &refusal,
            },
        )
    };
    let object =
        r#""status":429,"error":{"code":"rate_limited","msg":"too \"fast\"","retry_ms":500}"#;
    let acknowledged = [format!("43/admin,7[{{{object}}}]")];
    assert_eq!(told(&tag(Some(7), None)), acknowledged);
    assert_eq!(told(&tag(Some(7), Some("failed"))), acknowledged);
    let event = format!(r#"42/admin,["failed",{{{object},"event":"join"}}]"#);
    assert_eq!(told(&tag(None, Some("failed"))), [event]);
    for silent in [tag(None, None), Tag::None, Tag::Number(0)] {
        assert!(told(&silent).is_empty());
    }
    refusal.retry_ms = None;
    let id = tag(Some(1), None);
    let err = Output::Err {
        id: &id,
        refusal: &refusal,
    };
    assert_eq!(
        texts("/", &err),
        [r#"431[{"status":429,"error":{"code":"rate_limited","msg":"too \"fast\""}}]"#]
    );
}

#[test]
fn answer_to_a_call_is_acknowledged_with_its_body() {
    let asked = tag(Some(5), Some("failed"));
    for (status, body, expected) in [
        (
            200,
            ResBody::Json(b"{\"a\": 1}"),
            r#"43/a,5[{"status":200,"body":{"a": 1}}]"#,
        ),
        (
            404,
            ResBody::Text("no\n"),
            r#"43/a,5[{"status":404,"body":"no\n"}]"#,
        ),
        (204, ResBody::Empty, r#"43/a,5[{"status":204}]"#),
    ] {
        assert_eq!(texts("/a", &res(&asked, status, body)), [expected]);
    }
}

#[test]
fn answer_without_an_acknowledgement_is_told_where_it_failed() {
    let id = tag(None, Some("failed"));
    assert_eq!(
        texts("/", &res(&id, 422, ResBody::Json(b"[1]"))),
        [r#"42["failed",{"status":422,"body":[1],"event":"join"}]"#]
    );
    assert!(texts("/", &res(&id, 399, ResBody::Empty)).is_empty());
    assert!(texts("/", &res(&tag(None, None), 500, ResBody::Binary(b"x"))).is_empty());
}

#[test]
fn answer_that_is_bytes_is_an_attachment() {
    let bytes = ResBody::Binary(&[0xff, 0]);
    let object = r#"{"status":200,"body":{"_placeholder":true,"num":0}}"#;
    for (id, status, expected) in [
        (tag(Some(5), None), 200, format!("461-/a,5[{object}]")),
        (
            tag(None, Some("failed")),
            500,
            r#"451-/a,["failed",{"status":500,"body":{"_placeholder":true,"num":0},"event":"join"}]"#.into(),
        ),
    ] {
        let mut packets = said(codec("/a"), &res(&id, status, bytes)).into_iter();
        assert_eq!(packets.next().map(text_of), Some(expected));
        let attachment = packets.next().unwrap().frame().0;
        assert_eq!(attachment, [0x82, 2, 0xff, 0][..]);
        assert!(packets.next().is_none());
    }
}

#[test]
fn joining_is_granted_or_refused_in_the_words_of_clients() {
    let joined = |pid| Output::Connected { sid: "s\"1", pid };
    assert_eq!(texts("/", &joined(None)), [r#"40{"sid":"s\"1"}"#]);
    assert_eq!(
        texts("/admin", &joined(Some("p"))),
        [r#"40/admin,{"sid":"s\"1","pid":"p"}"#]
    );
    let refused = Output::Refused {
        code: Code::TokenExpired,
        status: 401,
        close: 4401,
        message: "the token has expired",
    };
    assert_eq!(
        texts("/x", &refused),
        [
            r#"44/x,{"message":"the token has expired","data":{"code":"token_expired","status":401,"close":4401}}"#
        ]
    );
}

#[test]
fn event_of_the_sidecar_never_ends_with_a_false_position() {
    let emit = |recovery, body| {
        let codec = SocketIoCodec::new("/a".into(), true, recovery);
        let output = Output::Emit { event: "hi", body };
        let packets = said(codec, &output);
        packets.into_iter().map(text_of).collect::<String>()
    };
    for (recovery, body, expected) in [
        (true, ResBody::Json(b"{\"a\":1}"), r#"42/a,["hi",{"a":1}]"#),
        (true, ResBody::Json(b" \"x\""), r#"42/a,["hi", "x",null]"#),
        (true, ResBody::Text("x"), r#"42/a,["hi","x",null]"#),
        (true, ResBody::Empty, r#"42/a,["hi",null]"#),
        (false, ResBody::Text("x"), r#"42/a,["hi","x"]"#),
        (false, ResBody::Empty, r#"42/a,["hi"]"#),
    ] {
        assert_eq!(emit(recovery, body), expected);
    }
}

#[test]
fn everything_else_is_an_event_of_crossfade() {
    let state = State {
        live: false,
        why: Some("upstream_down"),
        since: 1_789_000_000,
    };
    let end = End {
        code: Code::UpstreamClosed,
        status: 502,
        retry_ms: Some(3000),
        is_final: false,
    };
    let d = serde_json::value::to_raw_value(&serde_json::json!({"auth_exp": 1})).unwrap();
    let read = |id| DrainedAt {
        path: "/ids",
        id,
        o: at(45),
    };
    let (ch, path) = (17, "/api/matters?a=1");
    let cases = [
        (
            Output::State {
                ch,
                path,
                state: &state,
            },
            r#"["crossfade:state",{"path":"/api/matters?a=1","live":false,"why":"upstream_down","since":1789000000}]"#,
        ),
        (
            Output::End {
                ch,
                path,
                end: &end,
            },
            r#"["crossfade:end",{"path":"/api/matters?a=1","code":"upstream_closed","retry_ms":3000,"final":false}]"#,
        ),
        (
            Output::Notice {
                level: "warn",
                msg: "auth_expiring",
                d: Some(&d),
            },
            r#"["crossfade:notice",{"level":"warn","msg":"auth_expiring","d":{"auth_exp":1}}]"#,
        ),
        (
            Output::Drain {
                in_ms: 8000,
                retry_ms: (500, 4000),
                next: "polling",
                why: "kill",
                at: &[read(Some("8")), read(None)],
            },
            r#"["crossfade:drain",{"in_ms":8000,"retry_ms":[500,4000],"next":"polling","why":"kill","at":[{"path":"/ids","id":"8","o":"k3-45"},{"path":"/ids","o":"k3-45"}]}]"#,
        ),
    ];
    for (output, expected) in cases {
        assert_eq!(texts("/admin", &output), [format!("42/admin,{expected}")]);
    }
    assert!(texts("/", &Output::Ping).is_empty());
    assert!(texts("/", &Output::Pong).is_empty());
}
