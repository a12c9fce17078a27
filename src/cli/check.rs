//! `crossfade check`.

mod beginning;
mod fetch;
mod finding;
mod live;
mod sources;

use std::path::Path;

use super::outcome::{Failure, Outcome, print};
use crate::app::reload;
use crate::config::{self, Loaded, Problem, Severity};

/// Judges a file, and with `live` what stands behind it: problems on stderr as lines, or on stdout as one JSON document.
pub(crate) async fn check(file: &Path, json: bool, live: bool) -> Outcome {
    let mut outcome = reload::read(file).map(|read| read.loaded);
    if live && let Ok(loaded) = outcome {
        outcome = try_out(loaded, file).await;
    }
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
            let tried = if live { ", and all of it answers" } else { "" };
            print(&format!("{}: valid{tried}", file.display()));
            Ok(())
        }
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Err(Failure::No(lines.join("\n")))
        }
    }
}

/// A valid file that does not fit what runs is refused like one that is not valid.
async fn try_out(mut loaded: Loaded, file: &Path) -> Result<Loaded, Vec<Problem>> {
    let found = live::problems(&loaded, file).await;
    loaded.warnings.extend(found);
    loaded.warnings.sort_by_key(|p| (p.line, p.column));
    let is_error = |problem: &Problem| problem.severity == Severity::Error;
    match loaded.warnings.iter().any(is_error) {
        true => Err(loaded.warnings),
        false => Ok(loaded),
    }
}
