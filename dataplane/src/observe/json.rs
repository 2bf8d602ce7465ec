//! One flat JSON object, written field by field into a buffer. A line of the access log has some thirty of them, and
//! whoever logs every request pays for each: nothing here goes through the formatter but IPv6 and what must be escaped.

use std::fmt::Write;
use std::mem;
use std::net::SocketAddr;

#[derive(Debug)]
pub(super) struct Object<'a> {
    out: &'a mut String,
    /// What stands before the next name.
    before: &'static str,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut String) -> Self {
        Self { out, before: "{\"" }
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.push('"');
        escape(self.out, value);
        self.out.push('"');
    }

    /// Made of our own characters alone, which need no escaping.
    pub(super) fn word(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.push('"');
        self.out.push_str(value);
        self.out.push('"');
    }

    pub(super) fn number(&mut self, name: &str, value: impl itoa::Integer) {
        self.name(name);
        self.digits(value);
    }

    /// Address and port; an IPv6 address stands in brackets.
    pub(super) fn address(&mut self, name: &str, value: SocketAddr) {
        self.name(name);
        self.out.push('"');
        match value {
            SocketAddr::V4(value) => {
                for (octet, behind) in value.ip().octets().into_iter().zip(['.', '.', '.', ':']) {
                    self.digits(octet);
                    self.out.push(behind);
                }
                self.digits(value.port());
            }
            // Writing into a string cannot fail, and no character of it needs escaping.
            SocketAddr::V6(value) => _ = write!(self.out, "{value}"),
        }
        self.out.push('"');
    }

    pub(super) fn end(self) {
        self.out.push('}');
    }

    fn digits(&mut self, value: impl itoa::Integer) {
        self.out.push_str(itoa::Buffer::new().format(value));
    }

    /// Names are our own constants and need no escaping.
    fn name(&mut self, name: &str) {
        self.out.push_str(mem::replace(&mut self.before, ",\""));
        self.out.push_str(name);
        self.out.push_str("\":");
    }
}

fn escape(out: &mut String, text: &str) {
    // Nearly every text has nothing to escape, and asking all of its bytes without a branch takes many at once.
    if !text.bytes().fold(false, |found, byte| found | must_be_escaped(byte)) {
        out.push_str(text);
        return;
    }
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !must_be_escaped(byte) {
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

fn must_be_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\' || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_within_its_quotes() {
        let mut out = String::new();
        let mut object = Object::begin(&mut out);
        object.text("a", "x\",\"b\":\"\n\\\u{7f}é");
        object.text("c", "\"");
        object.number("d", u64::MAX);
        object.end();
        let parsed: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(parsed["a"], "x\",\"b\":\"\n\\\u{7f}é");
        assert_eq!(parsed["c"], "\"");
        assert_eq!(parsed["d"], u64::MAX);
        assert!(!out.contains('\n'));
    }

    #[test]
    fn addresses_are_printed_as_everywhere_else() {
        for text in ["0.0.0.0:0", "192.0.2.10:65535", "255.255.255.255:80", "[::1]:443", "[fe80::1%3]:8080"] {
            let mut out = String::new();
            let mut object = Object::begin(&mut out);
            object.address("a", text.parse().unwrap());
            object.end();
            assert_eq!(out, format!("{{\"a\":\"{text}\"}}"));
        }
    }
}
