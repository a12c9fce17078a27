//! Patches over raw, which has no other word than the data.

use serde_json::json;

use crate::harness::proxy;

#[tokio::test]
async fn raw_sends_documents_and_wrapped_raw_patches() {
    let proxy = proxy()
        .poll("/document/merge")
        .line("source = {kind = \"poll\", every = \"20ms\", emit = \"merge-patch\"}")
        .poll("/document/patch")
        .line("source = {kind = \"poll\", every = \"20ms\", emit = \"json-patch\"}")
        .start()
        .await;
    let documents = [
        json!({"list": [1, 2, 3], "text": "long enough for a patch", "n": 1}),
        json!({"list": [1, 2, 3], "text": "long enough for a patch", "n": 2}),
        // It looks like a patch of the one before.
        json!({"n": 3}),
        json!({"n": 3, "more": [{"op": "add", "path": "/x", "value": 1}]}),
    ];
    for (path, name, patches) in [
        (
            "/document/merge",
            "merge",
            [
                json!({"n": 2}),
                json!({"list": null, "text": null, "n": 3}),
                json!({"more": [{"op": "add", "path": "/x", "value": 1}]}),
            ],
        ),
        (
            "/document/patch",
            "patch",
            [
                json!([{"op": "replace", "path": "/n", "value": 2}]),
                json!([{"op": "replace", "path": "", "value": {"n": 3}}]),
                json!([{"op": "add", "path": "/more", "value": [{"op": "add", "path": "/x", "value": 1}]}]),
            ],
        ),
    ] {
        proxy.app().show(&documents[0].to_string());
        let mut raw = proxy.open(path, &[]).await;
        assert_eq!(raw.message().await, documents[0]);
        let wrapped = format!("{path}?cf_wrap=1");
        let mut wrapped = proxy.open(&wrapped, &[]).await;
        let snapshot = wrapped.message().await;
        assert_eq!(
            (&snapshot["e"], &snapshot["d"]),
            (&json!(null), &documents[0])
        );
        for (document, patch) in documents[1..].iter().zip(patches) {
            proxy.app().show(&document.to_string());
            assert_eq!(raw.message().await, *document, "{path}");
            let event = wrapped.message().await;
            assert_eq!((&event["e"], &event["d"]), (&json!(name), &patch));
            assert!(event["o"].is_string(), "{event}");
        }
    }
}
