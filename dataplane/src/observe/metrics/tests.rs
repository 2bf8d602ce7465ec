use super::*;
use crate::observe::flags;

#[test]
fn series_appear_with_the_first_request_and_go_with_the_rule() {
    let metrics = Metrics::default();
    let key = RouteKey::http("shop", "cart", 1);
    let rule = metrics.rule(&key);
    assert!(!metrics.render(None, |_| {}).contains("cart"));

    metrics.request(&key, &rule, 204, Flags::NONE, Duration::from_millis(3));
    let text = metrics.render(None, |_| {});
    let labels = r#"class="2xx",route="cart",route_namespace="shop",rule="1""#;
    for line in text.lines().filter(|line| line.contains("cart")) {
        assert!(line.contains(r#"route_namespace="shop""#) && line.contains(r#"rule="1""#), "{line}");
    }
    assert!(text.contains("portcullis_dataplane_requests_total{") && text.contains(r#"class="2xx""#), "{labels}");
    assert!(text.contains("portcullis_dataplane_request_duration_seconds_count"));

    metrics.remove_rule(&key, &rule);
    assert!(!metrics.render(None, |_| {}).contains("cart"));
}

#[test]
fn the_first_request_of_a_rule_that_has_gone_begins_no_series() {
    let metrics = Metrics::default();
    let key = RouteKey::http("shop", "cart", 1);
    let gone = metrics.rule(&key);
    metrics.remove_rule(&key, &gone);
    metrics.request(&key, &gone, 204, Flags::NONE, Duration::ZERO);
    assert!(!metrics.render(None, |_| {}).contains("cart"));
}

#[test]
fn a_duration_counts_in_every_bucket_above_it() {
    let metrics = Metrics::default();
    metrics.unmatched.request(404, Flags::NONE, Duration::from_micros(700));
    metrics.unmatched.request(404, Flags::NONE, Duration::from_secs(100));
    let text = metrics.render(Some(Duration::from_secs(2)), |_| {});
    let count = |bound: &str| {
        let line = text.lines().find(|line| line.contains("duration_seconds_bucket") && line.contains(bound));
        line.and_then(|line| line.rsplit(' ').next()).unwrap().to_owned()
    };
    assert_eq!(count(r#"le="0.000256""#), "0");
    assert_eq!(count(r#"le="0.001024""#), "1");
    assert_eq!(count(r#"le="67.108864""#), "1");
    assert_eq!(count(r#"le="+Inf""#), "2");
}

#[test]
fn flags_are_counted_by_code() {
    let metrics = Metrics::default();
    metrics.flags(flags::NO_ROUTE);
    metrics.flags(Flags::NONE);
    assert!(metrics.render(None, |_| {}).contains(r#"request_flags_total{flag="NR"} 1"#));
}
