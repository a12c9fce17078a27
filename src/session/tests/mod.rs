//! What a session promises, over a transport in memory and feeds that the test drives.

mod calls;
mod delivering;
mod draining;
mod failing;
mod lagging;
mod leaving;
mod memory;
mod reloading;
mod single;
mod sizes;
mod speaking;
mod subscribing;
pub(crate) mod support;
mod walk;

/// Two streams and a polled list of every kind.
const FILE: &str = r#"
[upstream.app]
servers = ["http://127.0.0.1:9"]

[[route]]
path = "/stream"
name = "stream"
upstream = "app"
source = "sse"
filter = ["event", "severity"]

[[route]]
path = "/other"
name = "other"
upstream = "app"
source = "sse"
slow = "gap"

[[route]]
path = "/latest"
name = "latest"
upstream = "app"
source = "sse"
deliver = {every = "1s", mode = "latest", max = 100}

[[route]]
path = "/batch"
name = "batch"
upstream = "app"
source = "sse"
deliver = {every = "1s", mode = "batch", max = 5}

[[route]]
path = "/list"
name = "list"
upstream = "app"
source = {kind = "poll", emit = "changes"}

[[route]]
path = "/merged"
name = "merged"
upstream = "app"
source = {kind = "poll", emit = "merge-patch", items = "/rows"}
filter = ["event", "severity"]

[[route]]
path = "/document"
name = "document"
upstream = "app"
source = {kind = "poll"}
slow = "latest"

[[route]]
path = "/{*path}"
upstream = "app"
"#;
