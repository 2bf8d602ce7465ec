//! Tables and numbers as people read them.

use std::fmt::Write as _;

/// A Markdown table with padded cells, so that a terminal shows it as well.
#[must_use]
pub fn markdown<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let header = header.map(str::to_owned);
    let width =
        |column: usize| rows.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |cells: &[String; N]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("| {} |", padded.join(" | "))
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", line(&header));
    let _ = writeln!(text, "|{}|", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|"));
    for row in rows {
        let _ = writeln!(text, "{}", line(row));
    }
    text
}

/// Words that must not break a cell.
#[must_use]
pub fn cell(text: &str) -> String {
    text.replace(['|', '\n'], " ")
}

/// "1,234,567".
#[must_use]
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && text != "-" {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// About three significant digits: "0.0021", "1.23", "45.6", "1,234".
#[must_use]
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.1 => format!("{value:.4}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => thousands(value),
    }
}

/// `short`, or a dash.
#[must_use]
pub fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
    }

    #[test]
    fn short_numbers_keep_what_can_be_read_and_no_more() {
        let texts = [0.0, 0.00213, 1.234, 45.67, 1234.5].map(short);
        assert_eq!(texts, ["0", "0.0021", "1.23", "45.7", "1,234"]);
        assert_eq!(maybe(None), "–");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = markdown(["a", "b"], &[["1".to_owned(), "long".to_owned()]]);
        assert_eq!(text, "| a | b    |\n|---|------|\n| 1 | long |\n");
    }
}
