//! Sessions: `SessionPersistence` of HTTPRoutes and GRPCRoutes to [`ir::SessionPersistence`] (GEP-1619).

use std::time::Duration;

use gateway_api::experimental::{grpcroutes, httproutes};
use http::HeaderName;
use portcullis_ir::{RouteKey, SessionCarrier, SessionPersistence};

use crate::duration;
use crate::header_edits::NOT_EDITABLE;
use crate::lenient;

/// Longest name (`SessionPersistence.sessionName`).
const MAX_NAME: usize = 128;
/// Longest path (`CookieConfig.path`).
const MAX_PATH: usize = 1024;
/// The header of sessions that are given no name.
const DEFAULT_HEADER: &str = "x-portcullis-session";
/// The cookie of sessions that are given no name begins like this.
const DEFAULT_COOKIE: &str = "portcullis-";
/// Headers that mean something else to everybody.
const TAKEN: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "set-cookie"];

/// The same fields of two unrelated types.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionView<'a> {
    /// With the cookie's path, as [`lenient`] has put it there.
    name: Option<&'a str>,
    header: bool,
    /// None: there is no `cookieConfig`. Whether it asks for a permanent cookie.
    cookie: Option<bool>,
    absolute_timeout: Option<&'a str>,
    idle_timeout: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPersistence {
    #[error("sessionPersistence.sessionName {0:?} is no name; use 1 to {MAX_NAME} letters, digits, `-` and `_`")]
    Name(String),
    #[error("sessionPersistence.sessionName {0:?} is a header with a meaning of its own; choose another name")]
    Taken(String),
    #[error("sessionPersistence.cookie.path {0:?} is no path; begin it with `/`, and use no `;`")]
    Path(String),
    #[error("sessionPersistence.{field} {value:?} is no Gateway API duration above 0; write it like 30m or 8h")]
    Timeout { field: &'static str, value: String },
    #[error("sessionPersistence.cookieConfig needs type Cookie; remove it or change type")]
    CookieOfHeader,
    #[error("sessionPersistence with a Permanent cookie needs absoluteTimeout; give it, or use lifetimeType Session")]
    Endless,
}

/// `rule` makes the name of a cookie that is given none: "If not specified, a unique cookie name SHOULD be generated".
pub(crate) fn translate(view: &SessionView<'_>, rule: &RouteKey) -> Result<SessionPersistence, InvalidPersistence> {
    let SessionView { name, header, cookie, absolute_timeout, idle_timeout } = *view;
    let (name, path) = match name.and_then(|name| name.split_once(lenient::PATH)) {
        Some((name, path)) if !header => (Some(name), Some(path)),
        _ => (name, None),
    };
    if path.is_some_and(|path| !is_cookie_path(path)) {
        return Err(InvalidPersistence::Path(path.unwrap_or_default().to_owned()));
    }
    let carrier = match (header, cookie) {
        (true, Some(_)) => return Err(InvalidPersistence::CookieOfHeader),
        (true, None) => SessionCarrier::Header,
        (false, Some(true)) => SessionCarrier::PermanentCookie,
        (false, _) => SessionCarrier::SessionCookie,
    };
    let absolute_timeout = timeout("absoluteTimeout", absolute_timeout)?;
    if carrier == SessionCarrier::PermanentCookie && absolute_timeout.is_none() {
        return Err(InvalidPersistence::Endless);
    }
    Ok(SessionPersistence {
        name: match name.filter(|name| !name.is_empty()) {
            Some(name) => checked_name(name, header)?,
            None if header => DEFAULT_HEADER.into(),
            None => format!("{DEFAULT_COOKIE}{:016x}", fnv1a(rule.to_string().as_bytes())).into(),
        },
        carrier,
        path: path.map(Into::into),
        absolute_timeout,
        idle_timeout: timeout("idleTimeout", idle_timeout)?,
    })
}

/// What a cookie's `Path` can be (RFC 6265, 4.1.1).
fn is_cookie_path(path: &str) -> bool {
    let fits = |byte: u8| matches!(byte, b' '..=b'~') && byte != b';';
    path.starts_with('/') && path.len() <= MAX_PATH && path.bytes().all(fits)
}

/// Names of cookies and of headers are tokens (RFC 6265, 4.1.1; RFC 9110, 5.6.2).
fn checked_name(raw: &str, header: bool) -> Result<Box<str>, InvalidPersistence> {
    let name = HeaderName::from_bytes(raw.as_bytes()).ok().filter(|_| raw.len() <= MAX_NAME);
    let name = name.ok_or_else(|| InvalidPersistence::Name(raw.to_owned()))?;
    if header && (NOT_EDITABLE.contains(&name.as_str()) || TAKEN.contains(&name.as_str())) {
        return Err(InvalidPersistence::Taken(raw.to_owned()));
    }
    // Those of cookies are case-sensitive.
    Ok(raw.into())
}

fn timeout(field: &'static str, raw: Option<&str>) -> Result<Option<Duration>, InvalidPersistence> {
    let Some(raw) = raw else { return Ok(None) };
    let parsed = duration::parse(raw).filter(|duration| !duration.is_zero());
    parsed.map(Some).ok_or_else(|| InvalidPersistence::Timeout { field, value: raw.to_owned() })
}

/// FNV-1a: the same in every version, so that an upgrade ends no session.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Every field is named, so that one that is new breaks the build.
macro_rules! session_view {
    ($api:ident, $session:ident, $kind:ident, $config:ident, $lifetime:ident) => {
        impl<'a> From<&'a $api::$session> for SessionView<'a> {
            fn from(session: &'a $api::$session) -> Self {
                let $api::$session { absolute_timeout, cookie_config, idle_timeout, session_name, r#type } = session;
                let permanent = |$api::$config { lifetime_type }: &$api::$config| {
                    matches!(lifetime_type, Some($api::$lifetime::Permanent))
                };
                Self {
                    name: session_name.as_deref(),
                    header: match r#type {
                        Some($api::$kind::Header) => true,
                        Some($api::$kind::Cookie) | None => false,
                    },
                    cookie: cookie_config.as_ref().map(permanent),
                    absolute_timeout: absolute_timeout.as_deref(),
                    idle_timeout: idle_timeout.as_deref(),
                }
            }
        }
    };
}

session_view!(
    httproutes,
    HttpRouteRulesSessionPersistence,
    HttpRouteRulesSessionPersistenceType,
    HttpRouteRulesSessionPersistenceCookieConfig,
    HttpRouteRulesSessionPersistenceCookieConfigLifetimeType
);
session_view!(
    grpcroutes,
    GrpcRouteRulesSessionPersistence,
    GrpcRouteRulesSessionPersistenceType,
    GrpcRouteRulesSessionPersistenceCookieConfig,
    GrpcRouteRulesSessionPersistenceCookieConfigLifetimeType
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use portcullis_ir::RouteKind;

    use super::*;

    fn parse(yaml: &str) -> Result<SessionPersistence, InvalidPersistence> {
        let http: httproutes::HttpRouteRulesSessionPersistence = serde_norway::from_str(yaml).unwrap();
        let grpc: grpcroutes::GrpcRouteRulesSessionPersistence = serde_norway::from_str(yaml).unwrap();
        let key = RouteKey::http("shop", "web", 0);
        let parsed = translate(&SessionView::from(&http), &key);
        assert_eq!(translate(&SessionView::from(&grpc), &key), parsed);
        parsed
    }

    #[test]
    fn a_session_has_a_carrier_and_limits() {
        let all = parse(
            "{sessionName: Cart, absoluteTimeout: 8h, idleTimeout: 30m, cookieConfig: {lifetimeType: Permanent}}",
        )
        .unwrap();
        assert_eq!((&*all.name, all.carrier), ("Cart", SessionCarrier::PermanentCookie));
        assert_eq!(all.absolute_timeout, Some(Duration::from_secs(8 * 3600)));
        assert_eq!(all.idle_timeout, Some(Duration::from_secs(30 * 60)));
        let header = parse("{sessionName: X-Cart, type: Header}").unwrap();
        assert_eq!((&*header.name, header.carrier), ("X-Cart", SessionCarrier::Header));
        assert_eq!(parse("{cookieConfig: {}}").unwrap().carrier, SessionCarrier::SessionCookie);
        let at = parse("{sessionName: cart;/shop, cookieConfig: {}}").unwrap();
        assert_eq!((&*at.name, at.path.as_deref()), ("cart", Some("/shop")));
        assert_eq!(parse("{sessionName: ;/}").unwrap().name, parse("{}").unwrap().name);
    }

    #[test]
    fn a_session_without_a_name_has_one_of_its_rule() {
        assert_eq!(&*parse("{type: Header}").unwrap().name, "x-portcullis-session");
        let cookie = parse("{}").unwrap().name;
        // Written down, because a name that changes ends every session.
        assert_eq!(&*cookie, "portcullis-0ac20a8c449c3a11");
        let http: httproutes::HttpRouteRulesSessionPersistence = serde_norway::from_str("{}").unwrap();
        let other = RouteKey::new(RouteKind::HttpRoute, "shop", "web", 1);
        assert_ne!(translate(&SessionView::from(&http), &other).unwrap().name, cookie);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(parse("{cookieConfig: {lifetimeType: Permanent}}"), Err(InvalidPersistence::Endless));
        assert_eq!(parse("{type: Header, cookieConfig: {}}"), Err(InvalidPersistence::CookieOfHeader));
        assert!(matches!(parse("{sessionName: 'a b'}"), Err(InvalidPersistence::Name(_))));
        assert!(matches!(parse("{sessionName: 'a;b'}"), Err(InvalidPersistence::Path(_))));
        assert!(matches!(parse("{sessionName: 'a;/b;c'}"), Err(InvalidPersistence::Path(_))));
        assert!(matches!(parse("{type: Header, sessionName: 'a;/b'}"), Err(InvalidPersistence::Name(_))));
        assert!(matches!(parse(&format!("{{sessionName: {}}}", "a".repeat(129))), Err(InvalidPersistence::Name(_))));
        assert!(matches!(parse("{sessionName: Cookie, type: Header}"), Err(InvalidPersistence::Taken(_))));
        assert!(matches!(parse("{sessionName: host, type: Header}"), Err(InvalidPersistence::Taken(_))));
        assert!(parse("{sessionName: host}").is_ok(), "a cookie may have the name of a header");
        assert!(matches!(parse("{absoluteTimeout: 0s}"), Err(InvalidPersistence::Timeout { .. })));
        assert!(matches!(parse("{idleTimeout: soon}"), Err(InvalidPersistence::Timeout { .. })));
    }
}
