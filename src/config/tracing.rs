use super::parser::address;
use super::parser::problem::Wrong;
use super::parser::table::Table;
use super::upstream::Authority;

/// `[tracing]`: spans for an OpenTelemetry collector (OTLP over HTTP, protobuf).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tracing {
    /// The collector, such as `"http://127.0.0.1:4318"`: `/v1/traces` is added where no path stands. Default: nothing is traced.
    pub(crate) endpoint: Option<Collector>,
    /// The percentage that is sampled of the requests, polls and events that bring no sampled trace from a trusted proxy, 0 to 100, up to three decimals.
    pub(crate) percent: u32,
}

/// Where spans go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Collector {
    /// The collector's address.
    pub(crate) server: Authority,
    /// At which path.
    pub(crate) path: String,
}

pub(super) fn read(table: &Table<'_>) -> Tracing {
    let endpoint = table.text("endpoint", collector);
    if endpoint.is_none() && table.says("percent") && !table.says("endpoint") {
        table.warning(
            "percent",
            "has no effect: there is no collector",
            "name it in `tracing.endpoint`, or remove the percentage",
        );
    }
    Tracing {
        endpoint,
        percent: table.percent(100.0),
    }
}

fn collector(text: &str) -> Result<Collector, Wrong> {
    let authority = text.find("://").map_or(0, |at| at + 3);
    let end = text
        .get(authority..)
        .and_then(|rest| rest.find('/'))
        .map_or(text.len(), |at| authority + at);
    let (server, path) = text.split_at(end);
    let server = server.to_ascii_lowercase();
    let origin = address::origin(&server)?;
    if path.contains(['?', '#', ' ']) {
        return Err(Wrong::new(
            "is no collector's address",
            "write scheme, host, port and path alone, such as \"http://127.0.0.1:4318\"",
        ));
    }
    let path = match path {
        "" | "/" => "/v1/traces",
        path => path,
    };
    Ok(Collector {
        server: Authority {
            address: format!("{}:{}", origin.host, origin.port),
            is_https: origin.scheme == "https",
        },
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::collector;

    #[test]
    fn a_collector_is_a_url_with_the_usual_path() {
        let url = |text: &str| {
            let collector = collector(text).expect(text);
            format!("{}{}", collector.server.url(), collector.path)
        };
        let usual = "http://127.0.0.1:4318/v1/traces";
        assert_eq!(url("http://127.0.0.1:4318"), usual);
        assert_eq!(url("http://127.0.0.1:4318/"), usual);
        assert_eq!(url(usual), usual);
        assert_eq!(url("https://Otel/Own"), "https://otel:443/Own");
        for broken in [
            "127.0.0.1:4318",
            "grpc://a",
            "http://",
            "http://a/?b",
            "http://u:p@a",
        ] {
            assert!(collector(broken).is_err(), "{broken}");
        }
    }
}
