//! What a key of a rate limit has left, and giving it all back: the page `/quotas` of a data plane, or of all data planes
//! of a Gateway, for people.

mod cluster;

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::admin;

pub use cluster::{Cluster, Pod};

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

/// Asks every ready data plane of a Gateway: each counts for itself what has scope Replica, and forgets for itself what
/// it holds of the others.
///
/// # Errors
/// When there is none, or one of them gives no answer.
pub fn ask_gateway(cluster: &Cluster<'_>, gateway: &str, verb: Verb, question: &Question<'_>) -> anyhow::Result<Value> {
    let mut answers = Vec::new();
    for pod in cluster.pods(gateway)? {
        let way = cluster.forward(&pod)?;
        let page = ask(way.address(), verb, question).with_context(|| format!("pod {}", pod.name))?;
        answers.push((pod.name, page));
    }
    Ok(together(answers))
}

/// One page: what replicas count together stands in it once, the rest with its pod.
fn together(answers: impl IntoIterator<Item = (String, Value)>) -> Value {
    let mut rules: Vec<Value> = Vec::new();
    for (pod, mut page) in answers {
        let theirs = page["rules"].as_array_mut().map(std::mem::take).unwrap_or_default();
        for mut rule in theirs {
            let same = |one: &Value| ["policy", "rule", "target", "scope"].iter().all(|name| one[*name] == rule[*name]);
            if rule["scope"] == "Fleet" {
                match rules.iter_mut().find(|one| same(one)) {
                    // The last to be asked knows of everything that was given back.
                    Some(one) => one["limits"] = rule["limits"].take(),
                    None => rules.push(rule),
                }
            } else {
                rule["pod"] = json!(pod);
                rules.push(rule);
            }
        }
    }
    json!({ "rules": rules })
}

/// # Errors
/// When nobody answers there, or the question has no answer; the data plane says why.
pub fn ask(address: SocketAddr, verb: Verb, question: &Question<'_>) -> anyhow::Result<Value> {
    let method = match verb {
        Verb::Get => "GET",
        Verb::Reset => "DELETE",
    };
    let (status, body) = admin::ask(address, method, &path(question)).with_context(|| {
        format!("nothing is running with its admin pages on {address}; for a cluster, use --gateway NAMESPACE/NAME")
    })?;
    if status != "200" {
        bail!("{}", body.trim_end());
    }
    serde_json::from_str(&body).context("the answer is no list of quotas; is this another program's port?")
}

/// A row for each limit; with pods where there are some.
pub fn table(page: &Value) -> String {
    let rules = page["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pods = rules.iter().any(|rule| rule["pod"].is_string());
    let head = ["POD", "POLICY", "RULE", "TARGET", "SCOPE", "LIMIT", "REMAINING", "RESET"];
    let mut rows = vec![head.map(str::to_owned)];
    for rule in rules {
        let text = |name: &str| rule[name].as_str().unwrap_or("-").to_owned();
        for limit in rule["limits"].as_array().into_iter().flatten() {
            let number = |name: &str, unit: &str| limit[name].as_u64().map_or("-".to_owned(), |n| format!("{n}{unit}"));
            let period = limit["period"].as_str().unwrap_or_default();
            rows.push([
                text("pod"),
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
    let widths: [usize; 8] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut table = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).skip(usize::from(!pods));
        let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
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

    #[test]
    fn what_replicas_count_together_is_shown_once_and_the_rest_by_pod() {
        let page = |own: u64, shared: u64| {
            let limit = |left| json!([{ "requests": 10, "period": "60s", "remaining": left, "resetSeconds": 6 }]);
            json!({ "rules": [
                { "policy": "shop/plans", "rule": "own", "scope": "Replica", "limits": limit(own) },
                { "policy": "shop/plans", "rule": "shared", "scope": "Fleet", "limits": limit(shared) },
            ] })
        };
        let page = together([("web-1".to_owned(), page(3, 8)), ("web-2".to_owned(), page(4, 7))]);
        assert_eq!(
            table(&page),
            "POD    POLICY      RULE    TARGET  SCOPE    LIMIT       REMAINING  RESET\n\
             web-1  shop/plans  own     -       Replica  10 per 60s  3          6s\n\
             -      shop/plans  shared  -       Fleet    10 per 60s  7          6s\n\
             web-2  shop/plans  own     -       Replica  10 per 60s  4          6s\n"
        );
    }
}
