//! Aligned columns for people, as wide as their terminal.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde_json::Value;

/// Columns of what is printed, where it goes to no terminal.
const COLUMNS: u16 = 80;

/// Columns of a name in [`labelled`], with the blank behind it.
const NAME: usize = 11;

/// Blanks between two columns.
const PADDING: u16 = 2;

/// A name in the first column is not broken up to this width.
const WHOLE: u16 = 32;

/// Lines whose columns begin at the same place, under a heading; what is too wide goes on below. Without rows, what `empty`
/// says.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]], empty: &str) -> String {
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
    for column in table.column_iter_mut() {
        column.set_padding((0, PADDING));
    }
    if let Some(first) = table.column_mut(0) {
        let widths = rows
            .iter()
            .map(|row| row.first().map_or(0, |cell| cell.chars().count()));
        let widest = widths.max().and_then(|width| u16::try_from(width).ok());
        let least = widest.unwrap_or(WHOLE).min(WHOLE) + PADDING;
        first.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
    }
    table.trim_fmt() + "\n"
}

/// Columns of the terminal that a result is printed to.
fn columns() -> u16 {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    size.map_or(COLUMNS, |size| size.ws_col.max(COLUMNS))
}

/// A value behind its name; what is too wide goes on below the value.
pub fn labelled(name: &str, value: &str) -> String {
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
pub fn cell(value: &Value) -> String {
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
