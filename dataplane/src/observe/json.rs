//! One flat JSON object, written field by field into a buffer.

use std::fmt::{self, Write};

#[derive(Debug)]
pub(super) struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.push('"');
        escape(self.out, value);
        self.out.push('"');
    }

    /// For values whose printed form needs escaping like any text.
    pub(super) fn display(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        self.out.push('"');
        // Writing into a string cannot fail.
        let _ = write!(Escaped(self.out), "{value}");
        self.out.push('"');
    }

    pub(super) fn number(&mut self, name: &str, value: u128) {
        self.name(name);
        // Writing into a string cannot fail.
        let _ = write!(self.out, "{value}");
    }

    pub(super) fn end(self) {
        self.out.push('}');
    }

    /// Names are our own constants and need no escaping.
    fn name(&mut self, name: &str) {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }
}

struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

fn escape(out: &mut String, text: &str) {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' && byte != 0x7f {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            // Writing into a string cannot fail.
            _ => _ = write!(out, "\\u{byte:04x}"),
        }
    }
    out.push_str(&text[plain..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_within_its_quotes() {
        let mut out = String::new();
        let mut object = Object::begin(&mut out);
        object.text("a", "x\",\"b\":\"\n\\\u{7f}é");
        object.display("c", "\"");
        object.number("d", 7);
        object.end();
        let parsed: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(parsed["a"], "x\",\"b\":\"\n\\\u{7f}é");
        assert_eq!(parsed["c"], "\"");
        assert_eq!(parsed["d"], 7);
        assert!(!out.contains('\n'));
    }
}
