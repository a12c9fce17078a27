//! The query of a request of Engine.IO.

use percent_encoding::percent_decode_str;

/// What the query of a request of Engine.IO says. `sid` is `Some(None)` where it is none of ours.
pub(super) struct Query {
    pub(super) is_version_4: bool,
    pub(super) transport: Option<EngineTransport>,
    pub(super) sid: Option<Option<[u8; 16]>>,
    pub(super) wants_jsonp: bool,
}

/// The transport that it names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EngineTransport {
    Polling,
    WebSocket,
}

impl Query {
    pub(super) fn read(query: Option<&str>) -> Query {
        let mut read = Query {
            is_version_4: false,
            transport: None,
            sid: None,
            wants_jsonp: false,
        };
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            match name {
                "EIO" => read.is_version_4 = value == "4",
                "transport" => {
                    read.transport = match &*value {
                        "polling" => Some(EngineTransport::Polling),
                        "websocket" => Some(EngineTransport::WebSocket),
                        _ => None,
                    }
                }
                "sid" => read.sid = Some(sid_of(&value)),
                "j" => read.wants_jsonp = true,
                _ => {}
            }
        }
        read
    }
}

fn sid_of(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32).then_some(())?;
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}
