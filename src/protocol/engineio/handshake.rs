//! What the first packet tells a client.

use std::time::Duration;

use serde::Serialize;

use super::packet::EnginePacket;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineHandshake<'a> {
    /// The secret that its requests name the session by.
    pub sid: &'a str,
    /// Whether it may go on over a WebSocket.
    pub may_upgrade: bool,
    /// From one ping to the next.
    pub ping_interval: Duration,
    /// How long a pong may take.
    pub ping_timeout: Duration,
    /// The largest body and message, bytes.
    pub max_payload: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    sid: &'a str,
    upgrades: &'static [&'static str],
    ping_interval: u64,
    ping_timeout: u64,
    max_payload: usize,
}

impl EngineHandshake<'_> {
    /// The first packet.
    pub fn packet(&self) -> EnginePacket {
        let told = Told {
            sid: self.sid,
            upgrades: if self.may_upgrade {
                &["websocket"]
            } else {
                &[]
            },
            ping_interval: millis(self.ping_interval),
            ping_timeout: millis(self.ping_timeout),
            max_payload: self.max_payload,
        };
        // Plain data is always JSON.
        EnginePacket::Open(serde_json::to_vec(&told).unwrap_or_default().into())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshake_reads_as_the_protocol_shows_it() {
        let mut handshake = EngineHandshake {
            sid: "lv_VI97HAXpY6yYWAAAC",
            may_upgrade: true,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_millis(20_000),
            max_payload: 1_000_000,
        };
        let text_of = |handshake: &EngineHandshake<'_>| {
            let mut out = Vec::new();
            handshake.packet().write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            text_of(&handshake),
            r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
        handshake.may_upgrade = false;
        assert!(text_of(&handshake).contains(r#""upgrades":[],"#));
    }
}
