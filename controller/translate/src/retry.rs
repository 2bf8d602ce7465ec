//! When a request is sent again: `HTTPRouteRetry` to [`ir::Retry`](portcullis_ir::Retry).

use gateway_api::experimental::httproutes::HttpRouteRulesRetry;
use portcullis_ir::Retry;

use crate::duration;

/// "+kubebuilder:default=1" of `HTTPRouteRetry.attempts` (1.7).
const ATTEMPTS: u32 = 1;
/// Most further tries: no request is worth more.
const MAX_ATTEMPTS: u32 = 1000;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRetry {
    #[error("retry.attempts {0} is out of range; give 0 to {MAX_ATTEMPTS}")]
    Attempts(i64),
    #[error("retry.codes {0} is no status that can be tried again; give 400 to 599")]
    Code(i64),
    #[error("retry.backoff {0:?} is no Gateway API duration; write it like 100ms or 1s")]
    Backoff(String),
}

pub(crate) fn translate(retry: &HttpRouteRulesRetry) -> Result<Retry, InvalidRetry> {
    let HttpRouteRulesRetry { attempts, backoff, codes } = retry;
    let attempts = match *attempts {
        None => ATTEMPTS,
        Some(raw) => {
            let known = u32::try_from(raw).ok().filter(|attempts| *attempts <= MAX_ATTEMPTS);
            known.ok_or(InvalidRetry::Attempts(raw))?
        }
    };
    let code = |raw: &i64| {
        let known = u16::try_from(*raw).ok().filter(|code| (400..600).contains(code));
        known.ok_or(InvalidRetry::Code(*raw))
    };
    let mut codes = codes.iter().flatten().map(code).collect::<Result<Vec<u16>, _>>()?;
    codes.sort_unstable();
    codes.dedup();
    let backoff = match backoff.as_deref() {
        None => None,
        Some(raw) => Some(duration::parse(raw).ok_or_else(|| InvalidRetry::Backoff(raw.to_owned()))?),
    };
    // Nothing can double: without a base the data plane has its own.
    Ok(Retry { attempts, codes, backoff: backoff.filter(|backoff| !backoff.is_zero()) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn parse(yaml: &str) -> Result<Retry, InvalidRetry> {
        translate(&serde_norway::from_str(yaml).unwrap())
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(parse("{}"), Ok(Retry { attempts: 1, codes: Vec::new(), backoff: None }));
        assert_eq!(parse("{attempts: 0}").unwrap().attempts, 0);
        let all = parse("{attempts: 3, codes: [503, 500, 503], backoff: 100ms}").unwrap();
        let backoff = Some(Duration::from_millis(100));
        assert_eq!(all, Retry { attempts: 3, codes: vec![500, 503], backoff });
        assert_eq!(parse("{backoff: 0s}").unwrap().backoff, None);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        assert_eq!(parse("{attempts: -1}"), Err(InvalidRetry::Attempts(-1)));
        assert_eq!(parse("{attempts: 1001}"), Err(InvalidRetry::Attempts(1001)));
        assert_eq!(parse("{codes: [399]}"), Err(InvalidRetry::Code(399)));
        assert_eq!(parse("{codes: [500, 600]}"), Err(InvalidRetry::Code(600)));
        assert_eq!(parse("{backoff: soon}"), Err(InvalidRetry::Backoff("soon".to_owned())));
    }
}
