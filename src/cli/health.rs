//! `crossfade health`.

use serde_json::Value;

use super::client::ApiClient;
use super::outcome::{AdminOptions, Failure, Outcome, print};
use super::table::{cell, table};

pub(crate) async fn run(remote: AdminOptions) -> Outcome {
    let client = ApiClient::new(remote)?;
    let (_, answer) = client.look("/v1/health").await?;
    match client.wants_json() {
        true => print(&answer.text),
        false => print(&describe(&answer.json)),
    }
    match answer.json["status"].as_str() {
        Some("ok" | "degraded") => Ok(()),
        _ => Err(Failure::No(String::new())),
    }
}

fn describe(health: &Value) -> String {
    let edge = &health["edge"];
    let mut rows = vec![[
        "edge".to_owned(),
        format!("crossfade {}", cell(&edge["version"])),
        if edge["ready"] == true {
            "ready"
        } else {
            "not ready"
        }
        .to_owned(),
        format!(
            "up {} s, {} sessions",
            cell(&edge["uptime_s"]),
            cell(&edge["sessions"])
        ),
    ]];
    for upstream in health["upstreams"].as_array().into_iter().flatten() {
        for server in upstream["servers"].as_array().into_iter().flatten() {
            rows.push([
                format!("upstream {}", cell(&upstream["name"])),
                cell(&server["url"]),
                if server["healthy"] == true {
                    "ok"
                } else {
                    "unhealthy"
                }
                .to_owned(),
                String::new(),
            ]);
        }
    }
    for source in health["sources"].as_array().into_iter().flatten() {
        rows.push([
            format!("source {}", cell(&source["route"])),
            cell(&source["path"]),
            if source["live"] == true {
                "live"
            } else {
                "stale"
            }
            .to_owned(),
            cell(&source["why"]),
        ]);
    }
    let status = cell(&health["status"]);
    let rows = table(["PART", "WHAT", "STATE", "MORE"], &rows, "");
    format!("{status}\n\n{rows}")
}
