//! Forms of text that a schema names: patterns in words, `byte` and `date-time`.

/// Words for the patterns that people meet; the pattern itself for the rest.
pub(super) fn form(pattern: &str) -> String {
    match pattern {
        p if p.starts_with(r"^(\*\.)?[a-z0-9]") => {
            "write a lower-case host name, without a port or an address; `*.` may come first".to_owned()
        }
        p if p.starts_with(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?") => {
            "use lower-case letters, digits and `-`, starting and ending with a letter or digit".to_owned()
        }
        p if p.contains("(h|m|s|ms)") => "write a duration such as 10s, 500ms or 1h30m".to_owned(),
        p if p.starts_with(r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$") => {
            "use what header names are made of: letters, digits and `-`".to_owned()
        }
        p => format!("it must match {p}"),
    }
}

pub(super) fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// RFC 3339, as far as the shape goes.
pub(super) fn is_date_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20
        && bytes.iter().enumerate().take(19).all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => matches!(byte, b'T' | b't' | b' '),
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        })
}
