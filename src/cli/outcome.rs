//! What the commands share: where the sidecar is, a printed result, and how a command went.

use clap::Args;

/// Where the running sidecar is.
#[derive(Args, Clone)]
pub(super) struct AdminOptions {
    /// Admin address: http://HOST:PORT or unix:/PATH [default: that of ./proxy.toml, else http://127.0.0.1:9900].
    #[arg(long, value_name = "URL", env = "CROSSFADE_ADMIN")]
    pub(crate) admin: Option<String>,
    /// The file's admin.token.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "CROSSFADE_ADMIN_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
    /// Prints the admin API's answer as it is.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Why a command did not do it.
#[derive(Debug)]
pub(super) enum Failure {
    /// Exit 1.
    No(String),
    /// Exit 2.
    Usage(String),
}

pub(super) type Outcome = Result<(), Failure>;

/// Writes a result. A reader that went away (`| head`) is no failure.
pub(super) fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(end.as_bytes()));
}
