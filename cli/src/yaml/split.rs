//! Cuts a file into its documents before any of them is parsed, so that one broken document costs only itself.
//!
//! Cutting by text is exact: a line that starts with `---` or `...` can be nothing but a document marker, not even
//! within a quoted or block scalar (YAML 1.2.2, 9.1.2 `c-forbidden`).

/// One document's text, its marker included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    pub text: &'a str,
    /// Lines of the file above it.
    pub above: u32,
}

/// The documents of a file that hold anything but blanks and comments.
pub fn documents(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    let mut start = 0;
    let mut above = 0;
    let mut at = 0;
    // What came so far is only blanks, comments and directives, which belong to the document that follows.
    let mut prologue = true;
    for (line, row) in (0..).zip(text.split_inclusive('\n')) {
        let begins = is_marker(row, "---");
        if (begins && !prologue) || is_marker(row, "...") {
            push(&mut found, &text[start..at], above);
            let skip = if begins { 0 } else { row.len() };
            start = at + skip;
            above = line + u32::from(!begins);
            prologue = true;
        }
        let content = row.trim();
        if begins || !(content.is_empty() || content.starts_with('#') || row.starts_with('%') || content == "...") {
            prologue = false;
        }
        at += row.len();
    }
    push(&mut found, &text[start..], above);
    found
}

fn push<'a>(found: &mut Vec<Document<'a>>, text: &'a str, above: u32) {
    let holds_something = text.lines().any(|row| {
        let content = row.strip_prefix("---").unwrap_or(row).trim();
        !(content.is_empty() || content.starts_with('#') || row.starts_with('%'))
    });
    if holds_something {
        found.push(Document { text, above });
    }
}

fn is_marker(row: &str, marker: &str) -> bool {
    row.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(&str, u32)> {
        documents(text).into_iter().map(|document| (document.text, document.above)).collect()
    }

    #[test]
    fn documents_know_how_many_lines_stand_above_them() {
        assert_eq!(cut("a: 1\n---\nb: 2\n"), [("a: 1\n", 0), ("---\nb: 2\n", 1)]);
        assert_eq!(cut("---\na: 1\n...\n\n---\nb: 2"), [("---\na: 1\n", 0), ("\n---\nb: 2", 3)]);
    }

    #[test]
    fn comments_and_directives_stay_with_the_document_below_them() {
        assert_eq!(cut("# head\n%YAML 1.2\n---\na: 1\n"), [("# head\n%YAML 1.2\n---\na: 1\n", 0)]);
    }

    #[test]
    fn empty_documents_are_none() {
        assert_eq!(cut(""), []);
        assert_eq!(cut("---\n# nothing\n---\n\n...\n"), []);
        assert_eq!(cut("\u{feff}a: 1"), [("a: 1", 0)]);
    }

    #[test]
    fn dashes_that_are_no_marker_cut_nothing() {
        assert_eq!(cut("a: |\n  ---\n  x\n").len(), 1);
        assert_eq!(cut("---a: 1\n").len(), 1);
    }
}
