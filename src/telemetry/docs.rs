//! `docs/metrics.md`, made from what the telemetry registers. `UPDATE_DOCS=1` writes it anew.

use std::fs;
use std::path::Path;

use super::Telemetry;
use super::metric_registry::Announced;

const HEAD: &str = "\
# Metrics

<!-- Made from src/telemetry by a test; `UPDATE_DOCS=1 cargo test --lib telemetry::docs` writes it anew. -->

`GET /metrics` of the admin address serves all of these in the Prometheus text format, without a token.
`[metrics] listen` serves them at an address of its own. `docs/grafana/crossfade.json` is a dashboard,
`docs/prometheus/alerts.yml` are alert rules; [`operations.md`](operations.md#what-to-watch) says which of them deserve
an alarm. Values of `reason` in `crossfade_refused_total` are listed in
[`security.md`](security.md#reasons-in-crossfade_refused_total), those of `crossfade_upstream_errors_total` in
[`operations.md`](operations.md#towards-the-backend).

Labels hold configured names and fixed words only, never what a client sent. `route=\"-\"` is what belongs to no route,
such as the connection to `/_crossfade/ws` itself. Each metric is announced (`HELP`, `TYPE`) from the start, also while
it has no sample. A counter begins at 0 when the process starts. Every process counts for itself.

## Of crossfade
";

const PROCESS: &str = "
## Of the process
`process_cpu_seconds_total`, `process_open_fds`, `process_max_fds`, `process_resident_memory_bytes`,
`process_virtual_memory_bytes`, `process_start_time_seconds` and `process_threads`, as other programs have them.
";

#[test]
fn metrics_page_is_up_to_date() {
    let page = page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).expect("written");
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == page,
        "docs/metrics.md is stale: run with UPDATE_DOCS=1"
    );
}

#[test]
fn metrics_page_names_every_process_metric() {
    let text = Telemetry::default().render();
    let served = text.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("# TYPE process_")?.split_once(' ')?;
        Some(format!("`process_{name}`"))
    });
    let mut served: Vec<_> = served.collect();
    let mut named: Vec<_> = PROCESS.split_inclusive('`').collect();
    named.retain(|word| word.starts_with("process_"));
    let mut named: Vec<_> = named.iter().map(|word| format!("`{word}")).collect();
    served.sort();
    named.sort();
    assert_eq!(named, served);
}

fn page() -> String {
    let telemetry = Telemetry::default();
    let mut families: Vec<_> = telemetry.book.announced.iter().collect();
    families.sort_by_key(|family| &family.name);
    let mut page = format!("{HEAD}\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for Announced {
        name,
        kind,
        help,
        labels,
    } in families
    {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        page += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
    }
    page + PROCESS
}
