//! `crossfade demo`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::process::BINARY;
use crate::harness::socket::Socket;

/// A running demonstration; it is killed when this is dropped.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn demo_is_watched_by_a_client_of_socket_io() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command.args(["demo", "--listen", "127.0.0.1:0"]);
    command.env("TMPDIR", folder.path()).stdout(Stdio::piped());
    let mut demo = Demo(command.spawn().unwrap());
    let output = BufReader::new(demo.0.stdout.take().unwrap());
    let line = output.lines().map(Result::unwrap);
    let mut snippets = line.filter(|line| line.trim_start().starts_with("socket.io-client"));
    let snippet = snippets.next().unwrap();
    let (url, event) = {
        let mut quoted = snippet.split('"').skip(1).step_by(2);
        (quoted.next().unwrap(), quoted.next().unwrap())
    };
    let path = "/socket.io/?EIO=4&transport=websocket";
    let mut socket = Socket::open(url, path, &[]).await.unwrap();
    socket.text().await.unwrap();
    socket.say("40").await;
    let name = format!(r#"42["{event}","#);
    let packet = loop {
        let packet = socket.text().await.unwrap();
        if packet.starts_with(&name) {
            break packet;
        }
    };
    let packet: Value = serde_json::from_str(&packet[2..]).unwrap();
    assert_eq!(packet[1]["jobs"].as_array().unwrap().len(), 6);
}
