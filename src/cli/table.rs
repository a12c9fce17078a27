//! Aligned columns for people.

use serde_json::Value;

/// Lines whose columns begin at the same place, under a heading. Without rows, what `empty` says.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]], empty: &str) -> String {
    if rows.is_empty() {
        return empty.to_owned();
    }
    let heading = heading.map(str::to_owned);
    let mut widths = [0; N];
    for row in rows.iter().chain([&heading]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in [&heading].into_iter().chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A value behind its name.
pub fn labelled(name: &str, value: &str) -> String {
    format!("{name:<10} {value}")
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
