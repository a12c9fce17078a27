//! Aligned columns for people, as wide as their terminal.

use std::time::Duration;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde_json::Value;

/// Columns of what is printed, where it goes to no terminal.
const COLUMNS: u16 = 80;

/// Columns of a name in [`labelled`], with the blank behind it.
const NAME: usize = 11;

/// Blanks between two columns.
const PADDING: u16 = 2;

/// A name in the first column is not broken up to this width.
const WHOLE: usize = 32;

/// A value in a later column is not broken up to this width: a word of crossfade's own, an IPv4 address.
const UNBROKEN: usize = 9;

/// Lines whose columns begin at the same place, under a heading; what is too wide goes on below. Without rows, what `empty`
/// says.
pub(crate) fn table<const N: usize>(
    heading: [&str; N],
    rows: &[[String; N]],
    empty: &str,
) -> String {
    if rows.is_empty() {
        return empty.to_owned();
    }
    fit(heading, rows, columns())
}

fn fit<const N: usize>(heading: [&str; N], rows: &[[String; N]], columns: u16) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        // The last column's padding is trimmed.
        .set_width(columns.saturating_add(PADDING))
        .set_header(heading)
        .add_rows(rows);
    let widths = widths(heading, rows, columns);
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_padding((0, PADDING));
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
    }
    table.trim_fmt() + "\n"
}

/// The least width of each column: its heading and what is not to be broken, as far as there is room for that.
fn widths<const N: usize>(heading: [&str; N], rows: &[[String; N]], columns: u16) -> [u16; N] {
    let longest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let choices = [(WHOLE, UNBROKEN), (WHOLE, 0), (0, 0)].map(|(first, later)| {
        std::array::from_fn(|column| {
            let unbroken = if column == 0 { first } else { later };
            let width = longest(column).unwrap_or(0).min(unbroken);
            let width = width.max(heading[column].len());
            u16::try_from(width).unwrap_or(COLUMNS) + PADDING
        })
    });
    let fits = |widths: &&[u16; N]| widths.iter().sum::<u16>() <= columns.saturating_add(PADDING);
    choices.iter().find(fits).copied().unwrap_or([0; N])
}

/// Columns of the terminal that a result is printed to.
fn columns() -> u16 {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    size.map_or(COLUMNS, |size| size.ws_col.max(COLUMNS))
}

/// A value behind its name; what is too wide goes on below the value.
pub(crate) fn labelled(name: &str, value: &str) -> String {
    let width = usize::from(columns()).saturating_sub(NAME);
    let mut lines = vec![String::new()];
    for word in value.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            let blank = if line.is_empty() { "" } else { " " };
            *line += &format!("{blank}{word}");
        }
    }
    let below = format!("\n{:NAME$}", "");
    format!("{name:<width$} {}", lines.join(&below), width = NAME - 1)
}

/// A JSON value as a cell: strings without quotes, nothing as `-`, and no control characters.
pub(crate) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(cell).collect();
            match items.is_empty() {
                true => "-".to_owned(),
                false => items.join(", "),
            }
        }
        other => other.to_string(),
    };
    let plain = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(plain).collect()
}

/// How long ago that time (RFC 3339) was, in its largest unit.
pub(crate) fn age(time: &Value) -> String {
    let time = time.as_str().unwrap_or_default();
    let Ok(time) = humantime::parse_rfc3339(time) else {
        return "-".to_owned();
    };
    // This machine's clock may be behind crossfade's.
    let age = time.elapsed().unwrap_or_default();
    let age = humantime::format_duration(Duration::from_secs(age.as_secs())).to_string();
    age.split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_of_long_values_fit_80_columns() {
        let long = |word: &str| word.repeat(40);
        let rows = [
            ["board"; 9].map(str::to_owned),
            [
                long("route-"),
                format!("/api/{}", long("matters/")),
                long("user "),
                "authenticated".to_owned(),
                "123456".to_owned(),
                "k3-12345678".to_owned(),
                "false".to_owned(),
                "upstream_down".to_owned(),
                long("9"),
            ],
        ];
        let heading = [
            "ROUTE",
            "PATH",
            "USER",
            "SCOPE",
            "SUBSCRIBERS",
            "AT",
            "LIVE",
            "WHY",
            "EVENTS",
        ];
        let told = fit(heading, &rows, 80);
        for line in told.lines() {
            assert!(line.chars().count() <= 80, "{line}\n{told}");
        }
        let letters = |text: &str| text.chars().filter(|c| *c == '9').count();
        assert_eq!(letters(&told), 40, "nothing is cut off\n{told}");
    }

    #[test]
    fn headings_and_short_words_are_not_broken() {
        let row = [
            "5e4306a167cda766-1",
            "alice",
            "127.0.0.1",
            "json",
            "3m",
            "0",
        ];
        let path = "/api/orders/stream, /api/tickets/42/stream";
        let rows = [[row[0], row[1], row[2], row[3], row[4], row[5], path].map(str::to_owned)];
        let heading = ["ID", "USER", "REMOTE", "PROTOCOL", "AGE", "QUEUED", "PATHS"];
        let told = fit(heading, &rows, 80);
        let lines: Vec<Vec<&str>> = told
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0], heading, "{told}");
        assert_eq!(lines[1][..6], row, "{told}");
        assert_eq!(lines[1][6], "/api/orders/stream,", "{told}");
    }

    #[test]
    fn a_long_value_goes_on_below_itself() {
        let told = labelled("verdict", &"four ".repeat(20));
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.len() <= 80));
        assert!(lines[0].starts_with("verdict    four four"));
        assert!(lines[1].starts_with("           four"));
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = [
            ["web".to_owned(), "Zoë".to_owned(), "x".to_owned()],
            ["a-long-name".to_owned(), "-".to_owned(), String::new()],
        ];
        assert_eq!(
            table(["NAME", "UNIT", "WHY"], &rows, ""),
            "NAME         UNIT  WHY\nweb          Zoë   x\na-long-name  -\n"
        );
        assert_eq!(table(["NAME"], &[], "nothing"), "nothing");
    }

    #[test]
    fn cells_are_plain() {
        assert_eq!(cell(&json!(null)), "-");
        assert_eq!(cell(&json!("a\u{1b}[1mb\n")), "a\\u{1b}[1mb\\n");
        assert_eq!(cell(&json!(["a", "b"])), "a, b");
        assert_eq!(cell(&json!(12.5)), "12.5");
    }
}
