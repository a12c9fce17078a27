use std::path::PathBuf;
use std::{fmt, io};

use crate::config::Problem;

/// Why it did not start.
#[derive(Debug)]
pub enum StartError {
    /// The file is invalid.
    Invalid(Vec<Problem>),
    /// An address could not be bound.
    Bind {
        /// The key that names it.
        key: &'static str,
        /// What the system says, with the address.
        why: String,
    },
    /// `state_dir` cannot be used.
    State(PathBuf, io::Error),
    /// The service manager gives a socket that no key names; its address.
    Unnamed(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Invalid(problems) => {
                let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            StartError::Bind { key, why } => {
                write!(
                    f,
                    "{key}: cannot listen on {why}; choose another address, or stop the process that uses it"
                )
            }
            StartError::Unnamed(address) => write!(
                f,
                "server.listen: the service manager has bound {address}, which is no address of this configuration: nothing would \
                 answer there; name it in server.listen, or take it out of the socket unit"
            ),
            StartError::State(folder, error) => write!(
                f,
                "server.state_dir: {} cannot be used: {error}; let this user write there",
                folder.display()
            ),
        }
    }
}

impl std::error::Error for StartError {}
