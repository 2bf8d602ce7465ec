//! What a plain scalar means: the core schema of YAML 1.2, without what JSON cannot say.

use super::Value;

/// The value of an unquoted scalar. `0123` stays a string: YAML 1.1 reads it as octal, 1.2 as decimal, people as
/// either.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    integer(text)
        .map(Value::Int)
        .or_else(|| float(text).map(Value::Float))
        .unwrap_or_else(|| Value::String(text.into()))
}

fn integer(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return unsigned(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return unsigned(digits, 8);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    if leading_zero || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Without the sign that `from_str_radix` would take.
fn unsigned(digits: &str, radix: u32) -> Option<i64> {
    let first = digits.chars().next()?;
    if first.is_digit(radix) { i64::from_str_radix(digits, radix).ok() } else { None }
}

fn float(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let shaped = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && digits.contains(|digit: char| digit.is_ascii_digit())
        && digits.contains(['.', 'e', 'E'])
        && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'));
    if shaped { text.parse().ok().filter(|number: &f64| number.is_finite()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, expected) in [
            ("", "Null"),
            ("~", "Null"),
            ("true", "Bool(true)"),
            ("yes", "String(\"yes\")"),
            ("80", "Int(80)"),
            ("-1", "Int(-1)"),
            ("+1", "Int(1)"),
            ("0x1f", "Int(31)"),
            ("0x+1", "String(\"0x+1\")"),
            ("0o17", "Int(15)"),
            ("0123", "String(\"0123\")"),
            ("1.5", "Float(1.5)"),
            ("1e3", "Float(1000.0)"),
            (".inf", "String(\".inf\")"),
            ("1.2.3.4", "String(\"1.2.3.4\")"),
            ("e", "String(\"e\")"),
            ("12h", "String(\"12h\")"),
        ] {
            assert_eq!(format!("{:?}", plain(text)), expected, "{text}");
        }
    }
}
