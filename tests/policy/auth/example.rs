use serde_json::json;

use crate::harness::auth::{jwt, token_of};
use crate::harness::proxy;

#[tokio::test]
async fn stream_behind_a_token_is_read_with_it_and_not_without() {
    let proxy = proxy().sse("/ids").auth(jwt()).start().await;
    let token = token_of("alice");
    let mut alice = proxy.socket().token(&token).sub("/ids").await;
    proxy.app().publish();
    assert_eq!(alice.frame("ev").await["d"], json!({"n": 1}));
    let stranger = proxy.ask("GET /ids", &[]).await;
    assert_eq!(stranger.status(), 401);
}
