//! `crossfade upgrade`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::client::ApiClient;
use super::outcome::{AdminOptions, Failure, Outcome, print};

/// The new process may take half a minute to get ready, and one before it a little longer to let go.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Args)]
pub(crate) struct UpgradeCommand {
    /// The new program; by default the file that the running one was started from.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    #[command(flatten)]
    remote: AdminOptions,
}

pub(crate) async fn run(upgrade: UpgradeCommand) -> Outcome {
    let binary = upgrade.binary.as_deref().map(absolute).transpose()?;
    let client = ApiClient::new(upgrade.remote)?.with_patience(PATIENCE);
    let running = client.get("/v1/upgrade").await?;
    let mut wish = json!({ "pid": running.json["pid"] });
    if let Some(path) = binary {
        wish["binary"] = json!(path);
    }
    let answer = client.post("/v1/upgrade", Some(wish)).await?;
    if client.wants_json() {
        print(&answer.text);
        return Ok(());
    }
    let (pid, topics) = (&answer.json["pid"], &answer.json["topics"]);
    let version = answer.json["version"].as_str().unwrap_or("?");
    print(&format!(
        "process {pid} (crossfade {version}) serves, with the replay windows of {topics} topics; the one before it leaves"
    ));
    Ok(())
}

/// The running process may stand in another folder.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::Usage(format!("error: --binary {}: {error}", path.display())))
}
