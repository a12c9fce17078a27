//! The commands. stdout carries results, stderr errors and logs; exit 0 done, 1 the answer is no, 2 wrong usage.

mod check;
mod client;
mod config;
mod demo;
mod explain;
mod guess;
mod health;
mod key;
mod outcome;
mod rollout;
mod run;
mod sessions;
mod table;
mod topics;
mod upgrade;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};

use outcome::{AdminOptions, Failure, Outcome};

/// A sidecar that serves WebSocket from a backend's Server-Sent Events and polled endpoints, without changing the backend.
#[derive(Parser)]
#[command(
    name = "crossfade",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 80
)]
#[command(after_help = "Examples:
  crossfade check proxy.toml
  crossfade run --config proxy.toml
  crossfade rollout set 25

`crossfade COMMAND --help` shows each command's own example.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the sidecar.
    #[command(after_help = "Prints one line when it serves: ready public=… admin=…
SIGHUP reloads, SIGUSR2 upgrades, SIGTERM leaves in order, a second one (or
SIGINT) at once.

Example:
  crossfade run --config /etc/crossfade/proxy.toml")]
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = "proxy.toml")]
        config: PathBuf,
    },
    /// Validates a configuration file and tells every problem at once.
    #[command(after_help = "Problems go to stderr, one line each:
FILE:LINE:COL: error|warning: KEY: what is wrong; what to do
Exit 0 when the file is valid (warnings included), else 1.

Example:
  crossfade check proxy.toml
  crossfade check proxy.toml --live")]
    Check {
        /// The configuration file.
        #[arg(value_name = "FILE", default_value = "proxy.toml")]
        file: PathBuf,
        /// Prints {"ok","problems"} on stdout.
        #[arg(long)]
        json: bool,
        /// Also tries upstreams, authorities, key sets, clocks and CORS against what runs, with GETs that carry no credentials.
        #[arg(long)]
        live: bool,
    },
    /// Shows the main job without a configuration: a legacy backend, the sidecar, and a page.
    #[command(
        after_help = "Opens nothing but loopback addresses, and leaves nothing behind.

Example:
  crossfade demo --listen 127.0.0.1:8080"
    )]
    Demo {
        /// Where the page is served.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
    },
    /// Which clients get WebSocket: look, set, kill, resume.
    #[command(
        subcommand,
        after_help = "Example:
  crossfade rollout set 25 --rollout web"
    )]
    Rollout(rollout::Command),
    /// The configuration in force: show, reload, history, undo.
    #[command(
        subcommand,
        after_help = "Example:
  crossfade config reload"
    )]
    Config(config::Command),
    /// The connected clients: list, close, notify.
    #[command(
        subcommand,
        after_help = "Example:
  crossfade sessions list"
    )]
    Sessions(sessions::Command),
    /// What is read upstream, and for how many.
    #[command(
        subcommand,
        after_help = "Example:
  crossfade topics list"
    )]
    Topics(topics::Command),
    /// Leaves in order: no new sessions, the present ones move away at a paced rate; the process stays.
    #[command(after_help = "Example:
  crossfade drain --window 1m
  crossfade drain --cancel")]
    Drain(sessions::DrainCommand),
    /// Lets a new binary take over the listening sockets and the replay windows; the running process then leaves.
    #[command(
        after_help = "The same as SIGUSR2. The new process is started with the arguments and the
environment of the running one. Where it does not get ready within 30 s, the old
one serves on untouched: exit 1, with the end of what the new one wrote to stderr.
FILE must be writable by root and the running process's own user only.

Example:
  crossfade upgrade
  crossfade upgrade --binary /opt/crossfade/1.2.0/crossfade"
    )]
    Upgrade(upgrade::UpgradeCommand),
    /// Tells the health of the edge, the backends and the sources.
    #[command(after_help = "Exit 0 when ok or degraded, 1 when down or unreachable.

Example:
  crossfade health --admin unix:/run/crossfade/admin.sock")]
    Health {
        #[command(flatten)]
        remote: AdminOptions,
    },
    /// API keys: makes one.
    #[command(
        subcommand,
        after_help = "Example:
  crossfade key new --name ci"
    )]
    Key(key::Command),
    /// Tells which route, policies and side of the rollout a request would get, or what a Socket.IO event would do, and why; sends nothing.
    #[command(
        after_help = "Asks the running sidecar, or judges a file with --config.

Example:
  crossfade explain --path /api/matters --user alice
  crossfade explain --path /api/matters --user alice --config proxy.toml
  crossfade explain --namespace /admin --event join_task --user alice"
    )]
    Explain(explain::Explain),
}

/// Reads the arguments, does it, and says how it went.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| with_guess(error).exit());
    let outcome = match cli.command {
        Command::Run { config } => run::run(&config),
        Command::Check { file, json, live } => wait(check::check(&file, json, live)),
        Command::Demo { listen } => run::on_all_cores(demo::run(listen)),
        Command::Rollout(command) => wait(rollout::run(command)),
        Command::Config(command) => wait(config::run(command)),
        Command::Sessions(command) => wait(sessions::run(command)),
        Command::Topics(command) => wait(topics::run(command)),
        Command::Upgrade(upgrade) => wait(upgrade::run(upgrade)),
        Command::Drain(drain) => wait(sessions::drain(drain)),
        Command::Health { remote } => wait(health::run(remote)),
        Command::Key(command) => key::run(command),
        Command::Explain(explain) => wait(explain::run(explain)),
    };
    let (text, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::No(text)) => (text, 1),
        Err(Failure::Usage(text)) => (text, 2),
    };
    if !text.is_empty() {
        eprintln!("{text}");
    }
    ExitCode::from(code)
}

/// A command that there is not, with those that may be meant.
fn with_guess(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let meant = guess::meant_by(&Cli::command(), word);
    if !meant.is_empty() {
        let tips = meant
            .iter()
            .map(|meant| format!("did you mean `{meant}`?").into());
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(tips.collect()),
        );
        error.remove(ContextKind::SuggestedSubcommand);
    }
    error
}

/// One thread is plenty for a question.
fn wait(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(Failure::No(format!("error: no runtime: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(words: &[&str]) -> String {
        let parsed = Cli::try_parse_from([&["crossfade"], words].concat());
        let error = parsed.map(drop).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        with_guess(error).to_string()
    }

    #[test]
    fn a_command_of_another_place_is_named() {
        for (words, command) in [
            (&["reload"][..], "crossfade config reload"),
            (&["kill"], "crossfade rollout kill"),
            (&["status"], "crossfade rollout status"),
            (&["status"], "crossfade health"),
            (&["show"], "crossfade config show"),
            (&["start"], "crossfade run"),
            (&["validate"], "crossfade check"),
            (&["test"], "crossfade check"),
            (&["stop"], "crossfade drain"),
            (&["config", "check"], "crossfade check"),
            (&["sessions", "kill"], "crossfade sessions close"),
            (&["new"], "crossfade key new"),
        ] {
            let tip = format!("tip: did you mean `{command}`?");
            let told = meant(words);
            assert!(told.contains(&tip), "{words:?}: {told}");
        }
        assert!(meant(&["rolout"]).contains("'rollout'"));
        assert!(!meant(&["xyzzy"]).contains("tip"));
    }

    #[test]
    fn every_guess_is_a_command() {
        let root = Cli::command();
        for (_, ours) in guess::WORDS {
            let mut command = &root;
            for word in ours.split(' ') {
                command = command.find_subcommand(word).expect(ours);
            }
        }
    }

    #[test]
    fn every_help_fits_80_columns() {
        fn check(command: &clap::Command, path: &str) {
            let mut own = command.clone().bin_name(path).max_term_width(80);
            for help in [own.render_help(), own.render_long_help()] {
                for line in help.to_string().lines() {
                    assert!(line.chars().count() <= 80, "{path}: {line}");
                }
            }
            for inner in command.get_subcommands() {
                check(inner, &format!("{path} {}", inner.get_name()));
            }
        }
        let mut root = Cli::command();
        root.build();
        check(&root, "crossfade");
    }

    #[test]
    fn every_command_has_an_example_in_its_help() {
        fn check(command: &clap::Command, path: &str) {
            let help = command.get_after_help().map(ToString::to_string);
            let example = format!("  {path}");
            assert!(
                help.is_some_and(|help| help.contains(&example)),
                "`{path}` has no example"
            );
            for inner in command.get_subcommands() {
                check(inner, &format!("{path} {}", inner.get_name()));
            }
        }
        Cli::command().debug_assert();
        check(&Cli::command(), "crossfade");
    }
}
