//! What a key of a rate limit has left, and giving it all back: the page `/quotas` of a data plane, for people.

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::admin;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Reset,
}

/// Which key of which rule.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// `namespace/name`.
    pub policy: Option<&'a str>,
    pub rule: Option<&'a str>,
    pub tier: Option<&'a str>,
    pub key: &'a [String],
}

/// # Errors
/// When nobody answers there, or the question has no answer; the data plane says why.
pub fn ask(address: SocketAddr, verb: Verb, question: &Question<'_>) -> anyhow::Result<Value> {
    let method = match verb {
        Verb::Get => "GET",
        Verb::Reset => "DELETE",
    };
    let (status, body) = admin::ask(address, method, &path(question)).with_context(|| {
        format!("nothing is running with its admin pages on {address}; for a pod, use `kubectl port-forward`")
    })?;
    if status != "200" {
        bail!("{}", body.trim_end());
    }
    serde_json::from_str(&body).context("the answer is no list of quotas; is this another program's port?")
}

/// A row for each limit.
pub fn table(page: &Value) -> String {
    let mut rows = vec![["POLICY", "RULE", "TARGET", "SCOPE", "LIMIT", "REMAINING", "RESET"].map(str::to_owned)];
    for rule in page["rules"].as_array().into_iter().flatten() {
        let text = |name: &str| rule[name].as_str().unwrap_or("-").to_owned();
        for limit in rule["limits"].as_array().into_iter().flatten() {
            let number = |name: &str, unit: &str| limit[name].as_u64().map_or("-".to_owned(), |n| format!("{n}{unit}"));
            let period = limit["period"].as_str().unwrap_or_default();
            rows.push([
                text("policy"),
                text("rule"),
                text("target"),
                text("scope"),
                format!("{} per {period}", limit["requests"]),
                number("remaining", ""),
                number("resetSeconds", "s"),
            ]);
        }
    }
    let widths: [usize; 7] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut table = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        // Writing to a String never fails.
        let _ = writeln!(table, "{}", cells.join("  ").trim_end());
    }
    table
}

fn path(question: &Question<'_>) -> String {
    let Question { policy, rule, tier, key } = *question;
    let given = [("policy", policy), ("rule", rule), ("tier", tier)];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let pairs = given.chain(key.iter().map(|value| ("key", value.as_str())));
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    format!("/quotas?{}", pairs.join("&"))
}

fn encoded(value: &str) -> String {
    let mut text = String::new();
    for &byte in value.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // As above.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_becomes_an_address_and_an_answer_a_table() {
        let key = ["a b&c".to_owned(), "192.0.2.1".to_owned()];
        let question = Question { policy: Some("shop/plans"), rule: Some("monthly"), tier: None, key: &key };
        assert_eq!(path(&question), "/quotas?policy=shop/plans&rule=monthly&key=a%20b%26c&key=192.0.2.1");
        let page = serde_json::json!({ "rules": [{
            "policy": "shop/plans", "rule": "monthly", "scope": "Fleet", "shadow": false,
            "limits": [{ "requests": 10, "period": "Month", "remaining": 3, "resetSeconds": 60 }],
        }] });
        assert_eq!(
            table(&page),
            "POLICY      RULE     TARGET  SCOPE  LIMIT         REMAINING  RESET\n\
             shop/plans  monthly  -       Fleet  10 per Month  3          60s\n"
        );
    }
}
