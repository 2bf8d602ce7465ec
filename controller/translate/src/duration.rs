//! Durations as Gateway API writes them (GEP-2257): `1m30s`, `500ms`.

use std::time::Duration;

pub(crate) fn parse(raw: &str) -> Option<Duration> {
    let parsed: gateway_api::Duration = raw.parse().ok()?;
    Some(Duration::new(parsed.as_secs(), parsed.subsec_nanos()))
}
