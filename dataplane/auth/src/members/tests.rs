#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value};

use super::*;
use crate::json;

const NAMES: [&str; 5] = ["alg", "kid", "crit", "aud", "exp"];

/// Of the object that `json::parse` makes.
fn expected(object: &Map<String, Value>) -> [Option<Member<'static>>; NAMES.len()] {
    NAMES.map(|name| {
        object.get(name).map(|value| match value {
            Value::String(text) => Member::Text(text.clone().into()),
            Value::Number(number) => Member::Number(number.clone()),
            Value::Array(values) => {
                Member::List(values.iter().filter_map(Value::as_str).map(|text| text.to_owned().into()).collect())
            }
            _ => Member::Other,
        })
    })
}

/// Gives whether the text is taken.
fn same(text: &[u8]) -> Result<bool, TestCaseError> {
    let parsed = json::parse(text).ok();
    let found = str::from_utf8(text).ok().and_then(|text| members(text, NAMES).ok());
    prop_assert_eq!(&found, &parsed.as_ref().map(expected), "{}", String::from_utf8_lossy(text));
    Ok(found.is_some())
}

/// Spelled in several ways.
fn name() -> impl Strategy<Value = String> {
    let name = select(&["alg", "kid", "crit", "aud", "exp", "a", "ab", "", "\u{fc}"][..]);
    let spelled = |(name, escaped): (&str, u8)| {
        let sign = |(at, sign): (usize, char)| match escaped >> at & 1 {
            0 => sign.to_string(),
            _ => format!("\\u{:04x}", u32::from(sign)),
        };
        format!("\"{}\"", name.chars().enumerate().map(sign).collect::<String>())
    };
    prop_oneof![
        4 => name.clone().prop_map(|name| format!("\"{name}\"")),
        1 => (name, any::<u8>()).prop_map(spelled),
        // So many that few occur twice.
        4 => (0_u16..2000).prop_map(|number| format!("\"n{number}\"")),
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    const NUMBERS: [&str; 24] = [
        "0",
        "-0",
        "1",
        "-1",
        "0.5",
        "-2.5e3",
        "1E5",
        "1e-5",
        "1e400",
        "-1e400",
        "1e-400",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
    ];
    const WORDS: [&str; 9] = ["null", "true", "false", "nul", "True", "NaN", "Infinity", "", "'a'"];
    const TEXTS: [&str; 16] = [
        r#""""#,
        r#""shop""#,
        r#""a\/b""#,
        r#""\n\"\\""#,
        r#""\u0000""#,
        r#""\ud83d\ude00""#,
        r#""\ud83d""#,
        r#""\ude00x""#,
        r#""\x""#,
        r#""\u12""#,
        "\"\u{1}\"",
        "\"\u{7f}\"",
        "\"\u{1f600}\"",
        "\"\u{feff}\"",
        "\"open",
        "\"a\nb\"",
    ];
    let number = any::<f64>().prop_map(|number| Value::from(number).to_string());
    prop_oneof![
        10 => select(&NUMBERS[..19]).prop_map(str::to_owned),
        10 => select(&WORDS[..3]).prop_map(str::to_owned),
        10 => select(&TEXTS[..6]).prop_map(str::to_owned),
        5 => number,
        5 => any::<i64>().prop_map(|number| number.to_string()),
        5 => any::<String>().prop_map(|text| Value::from(text).to_string()),
        1 => select([NUMBERS.as_slice(), &WORDS, &TEXTS].concat()).prop_map(str::to_owned),
    ]
}

fn list(values: &[String]) -> String {
    format!("[{}]", values.join(","))
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{{{}}}", members.join(" ,\n\t"))
}

/// JSON, near enough, most of it an object.
fn text() -> impl Strategy<Value = String> {
    let value = scalar().prop_recursive(5, 40, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|values| list(&values)),
            prop::collection::vec((name(), inner.clone()), 0..5).prop_map(|members| object(&members)),
            // Up to the bound, and beyond it.
            (inner, 8_usize..18, any::<bool>()).prop_map(|(inner, depth, objects)| {
                let (open, close) = if objects { ("{\"a\":", "}") } else { ("[", "]") };
                format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
            }),
        ]
    });
    let members = prop_oneof![
        4 => prop::collection::vec((name(), value.clone()), 0..8),
        1 => prop::collection::vec((name(), scalar()), 10..40),
    ];
    prop_oneof![
        20 => members.prop_map(|members| object(&members)),
        1 => value,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_json_parse_takes_is_taken(text in text()) {
        same(text.as_bytes())?;
    }

    #[test]
    fn what_is_spoiled_is_refused_alike(
        text in text(),
        edits in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>(), 0..5), 1..4),
    ) {
        let mut text = text.into_bytes();
        for (at, to, byte, what) in edits {
            let (at, to) = (at.index(text.len() + 1), to.index(text.len() + 1));
            let (at, to) = (at.min(to), at.max(to));
            match what {
                0 => text.insert(at, byte),
                1 => text.insert(at, *b"{}[],:\"\\ 0-.e".get(usize::from(byte % 13)).unwrap()),
                2 if at < text.len() => text[at] = byte,
                3 => drop(text.drain(at..to.min(at + 4))),
                _ => {
                    let again = text[at..to].to_vec();
                    text.splice(to..to, again);
                }
            }
        }
        same(&text)?;
    }

    #[test]
    fn any_text_is_judged_alike(text in prop::collection::vec(any::<u8>(), 0..40)) {
        same(&text)?;
        same(&[b"{\"alg\":\"", &text[..], b"\"}"].concat())?;
    }
}

#[test]
fn both_readers_draw_the_same_line() {
    let nested = |depth: usize| format!("{{\"aud\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let many = |count: usize, last: &str| {
        let members: String = (0..count).map(|number| format!("\"n{number}\":0,")).collect();
        format!("{{{members}\"{last}\":0}}")
    };
    for text in [
        "{}".to_owned(),
        " { } \n".to_owned(),
        r#"{"\u0061lg":"RS256","kid":"\u006b1"}"#.to_owned(),
        r#"{"aud":["shop",1,["deep"],"\u0061pi",{"a":"b"}],"exp":-0}"#.to_owned(),
        r#"{"x":{"a":1},"a":{"a":2}}"#.to_owned(),
        r#"{"$serde_json::private::Number":"1","x":{"$serde_json::private::RawValue":"2"}}"#.to_owned(),
        nested(15),
        objects(16),
        many(15, "n15"),
        many(16, "n16"),
        many(400, "n400"),
        many(16, "\\u006e16"),
    ] {
        assert!(same(text.as_bytes()).unwrap(), "{text}");
    }
    for text in [
        r#"{"alg":1,"alg":1}"#.to_owned(),
        r#"{"alg":1,"\u0061lg":1}"#.to_owned(),
        r#"{"a":1,"\u0061":1}"#.to_owned(),
        r#"{"\u0061":1,"a":1}"#.to_owned(),
        r#"{"\u0061":1,"\u0061":1}"#.to_owned(),
        r#"{"x":[{"a":1,"\u0061":2}]}"#.to_owned(),
        r#"{"a":1e400}"#.to_owned(),
        r#"{"a":"\ud83d"}"#.to_owned(),
        "{} {}".to_owned(),
        "\u{feff}{}".to_owned(),
        "[]".to_owned(),
        nested(16),
        nested(100_000),
        objects(17),
        objects(100_000),
        many(15, "n0"),
        many(16, "n15"),
        many(17, "n16"),
        many(400, "n399"),
        many(400, "\\u006e0"),
        many(400, "\\u006e399"),
    ] {
        assert!(!same(text.as_bytes()).unwrap(), "{text}");
    }
    assert!(!same(b"{\"a\":\"\xff\"}").unwrap());
}

#[test]
fn what_has_no_escapes_is_lent_from_the_text() {
    let [kid, aud] = members(r#"{"kid":"k1","aud":["a","\u0062"]}"#, ["kid", "aud"]).unwrap();
    assert!(matches!(kid, Some(Member::Text(Cow::Borrowed("k1")))));
    let Some(Member::List(aud)) = aud else { panic!("a list") };
    assert!(matches!(&aud[..], [Cow::Borrowed("a"), Cow::Owned(b)] if b == "b"));
}
