//! What the programs of this folder share: each measurement runs in a process of its own. What one leaves behind in the
//! allocator would be the next one's memory.

use std::env;
use std::error::Error;
use std::process::{Command, ExitCode};

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Something that is measured.
pub struct Measurement<R> {
    pub name: &'static str,
    /// What its figures are.
    pub figures: &'static [&'static str],
    pub run: R,
}

/// Each measurement is made so often; the median counts.
pub const ROUNDS: usize = 5;

/// Runs a program with the arguments that it was given; an error is what it says last.
pub fn run(program: impl FnOnce(&[&str]) -> Result<()>) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match program(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The figures of one measurement, from this program in a process of its own.
pub fn ask(arguments: &[&str]) -> Result<Vec<f64>> {
    let answer = Command::new(env::current_exe()?).args(arguments).output()?;
    if !answer.status.success() {
        return Err(String::from_utf8_lossy(&answer.stderr).into());
    }
    let figures = String::from_utf8(answer.stdout)?;
    let figures = figures.split_whitespace().map(str::parse);
    Ok(figures.collect::<std::result::Result<_, _>>()?)
}

/// Prints what one measurement has found, for [`ask`].
pub fn answer(figures: Vec<f64>) {
    for figure in figures {
        println!("{figure}");
    }
}

/// The measurement of this name.
pub fn find<'a, R>(all: &'a [Measurement<R>], name: &str) -> Result<&'a Measurement<R>> {
    let mut all = all.iter();
    let found = all.find(|measurement| measurement.name == name);
    found.ok_or_else(|| "there is no such measurement".into())
}

/// One figure of all rounds: least, median, greatest.
pub fn spread(rounds: &[Vec<f64>], at: usize) -> [f64; 3] {
    let mut values: Vec<f64> = rounds.iter().filter_map(|r| r.get(at).copied()).collect();
    values.sort_by(f64::total_cmp);
    let (middle, last) = (values.len() / 2, values.len().saturating_sub(1));
    [0, middle, last].map(|place| values.get(place).copied().unwrap_or(f64::NAN))
}
