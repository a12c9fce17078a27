//! `crossfade check`.

use std::path::Path;

use super::{Failure, Outcome, print};
use crate::config;
use crate::reload;

/// Judges a file: problems on stderr as lines, or on stdout as one JSON document.
pub fn check(file: &Path, json: bool) -> Outcome {
    let outcome = reload::read(file).map(|read| read.loaded);
    if json {
        print(&config::report(&outcome).to_string());
        return match outcome {
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::No(String::new())),
        };
    }
    match outcome {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("{warning}");
            }
            print(&format!("{}: valid", file.display()));
            Ok(())
        }
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Err(Failure::No(lines.join("\n")))
        }
    }
}
