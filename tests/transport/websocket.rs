//! Hostile messages: each has its close code, and nobody else notices.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{JSON, Proxy, proxy, within};

/// Of each kind.
const TIMES: usize = 50;

/// A masked frame with the key 0.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Shakes hands, throws the bomb, and reads the close code.
async fn throw(proxy: &Proxy, bomb: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let request = format!(
        "GET /_crossfade/ws HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{JSON}\r\n\r\n",
        proxy.address
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    // The other side may close before it has read all of it.
    let _ = stream.write_all(bomb).await;
    let head = b"\r\n\r\n";
    let mut bytes = Vec::new();
    loop {
        let count = within("the end", stream.read_buf(&mut bytes)).await;
        let count = count.expect("no reset overtakes the close frame");
        let after_head = bytes.windows(4).position(|window| window == head);
        let frames = after_head.and_then(|at| bytes.get(at + 4..));
        if let Some(code) = frames.and_then(close_code) {
            return code;
        }
        assert!(count > 0, "no close frame: {bytes:?}");
    }
}

/// The code of the first close frame among whole server frames shorter than 64 KiB.
fn close_code(mut frames: &[u8]) -> Option<u16> {
    loop {
        let (head, length) = match *frames.get(1)? {
            126 => (
                4,
                u16::from_be_bytes([*frames.get(2)?, *frames.get(3)?]).into(),
            ),
            short => (2, usize::from(short)),
        };
        let payload = frames.get(head..head + length)?;
        if frames[0] == 0x88 {
            return Some(u16::from_be_bytes([payload[0], payload[1]]));
        }
        frames = &frames[head + length..];
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_is_refused_by_its_code() {
    let proxy = proxy().sse("/ids").start().await;
    let mut witness = proxy.join(&[]).await;
    witness.subscribe(1, "/ids").await;
    let deep = format!(r#"{{"t":"ping","x":{}"#, "[".repeat(30_000));
    let wide = format!(r#"{{"t":"ping","x":[{}0]}}"#, "0,".repeat(30_000));
    let fragments: Vec<u8> = std::iter::once(frame(0x01, b"{"))
        .chain((0..500).map(|_| frame(0x00, b"")))
        .flatten()
        .collect();
    let endless: Vec<u8> = std::iter::once(frame(0x01, &[b'a'; 40_000]))
        .chain((0..3).map(|_| frame(0x00, &[b'a'; 40_000])))
        .flatten()
        .collect();
    let pings: Vec<u8> = (0..500).flat_map(|_| frame(0x89, &[7; 125])).collect();
    let mut announced = frame(0x81, b"");
    announced[1] = 0x80 | 127;
    announced.splice(2..2, u64::MAX.to_be_bytes());
    let bombs = [
        ("too long", frame(0x81, &[b' '; 70_000]), 4009),
        ("announced too long", announced, 4009),
        ("too many fragments", fragments, 4009),
        ("fragments without end", endless, 4009),
        ("too many pings", pings, 4009),
        ("too deep", frame(0x81, deep.as_bytes()), 4000),
        ("too wide", frame(0x81, wide.as_bytes()), 4000),
        ("no object", frame(0x81, b"[]"), 4000),
        ("binary", frame(0x82, b"{}"), 4000),
        ("not UTF-8", frame(0x81, b"{\"t\":\"\xff\"}"), 1007),
        ("unmasked", b"\x81\x02{}".to_vec(), 1002),
        ("an opcode that is none", frame(0x83, b""), 1002),
    ];
    for (kind, bomb, code) in &bombs {
        for _ in 0..TIMES {
            assert_eq!(throw(&proxy, bomb).await, *code, "{kind}");
        }
    }
    let n = proxy.app().publish();
    assert_eq!(witness.frame("ev").await["d"]["n"], n);
    let metrics = proxy.metrics();
    assert!(metrics.contains("crossfade_panics_total 0"), "{metrics}");
}
