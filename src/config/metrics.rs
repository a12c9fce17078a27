use std::net::SocketAddr;

use super::parser::problem::Wrong;
use super::parser::table::Table;
use super::server::{self, Listen};

/// `[metrics]`: where Prometheus scrapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metrics {
    /// An address of its own for `/metrics`, `host:port`; it asks for no token. Default: `/metrics` is on the admin address alone.
    pub(crate) listen: Option<SocketAddr>,
}

pub(super) fn read(table: &Table<'_>) -> Metrics {
    Metrics {
        listen: table.text("listen", address),
    }
}

fn address(text: &str) -> Result<SocketAddr, Wrong> {
    match server::listen(text)? {
        Listen::Tcp(address) => Ok(address),
        Listen::Unix(_) => Err(Wrong::new(
            "is no address that Prometheus can scrape",
            "write host and port, such as \"127.0.0.1:9901\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn a_scraper_needs_host_and_port() {
        assert!(address("127.0.0.1:9901").is_ok());
        assert!(address("unix:/run/metrics").is_err());
        assert!(address(":9901").is_err());
    }
}
