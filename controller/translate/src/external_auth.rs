//! The filter ExternalAuth (GEP-1494): whoever asks for it is never let through without it ("this filter MUST fail
//! closed"). What AuthPolicy asks of the same service is read by the same rules.

use std::time::Duration;

use http::HeaderName;
use portcullis_ir::{ExternalAuth, ExternalAuthProtocol, PathView as RequestPath, Target};

use crate::filter_view::{ExternalAuthView, HttpAuthView};

/// Most names of headers in one list.
const MAX_HEADERS: usize = 64;
/// Longest path (`HTTPAuthConfig.path`).
const MAX_PATH: usize = 1024;
/// How long the service may take; Gateway API has no field for it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of a body that are sent along: they are held until the service has answered.
pub(crate) const MAX_BODY: u32 = 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidExternalAuth {
    #[error("externalAuth.{field} does not fit protocol {protocol}; give {own} alone")]
    Protocol { protocol: &'static str, own: &'static str, field: &'static str },
    #[error("externalAuth.{own} is missing; protocol {protocol} needs it")]
    NoConfig { protocol: &'static str, own: &'static str },
    #[error("externalAuth.{field} {value:?} is no header name, or one too many; give at most {MAX_HEADERS} names")]
    Header { field: &'static str, value: String },
    #[error("externalAuth.http.path {0:?} cannot be requested; start it with `/` and leave out `?` and `#`")]
    Path(String),
    #[error("externalAuth.forwardBody.maxSize {0} is out of range; give 0 to {MAX_BODY} bytes")]
    MaxSize(i64),
}

/// `backend` is what the filter's reference comes to.
pub(crate) fn translate(view: &ExternalAuthView<'_>, backend: Target) -> Result<ExternalAuth, InvalidExternalAuth> {
    let ExternalAuthView { is_grpc, backend: _, grpc_headers, http, max_body } = view;
    let (protocol, own) = if *is_grpc { ("GRPC", "grpc") } else { ("HTTP", "http") };
    let protocol = match (*is_grpc, *grpc_headers, http) {
        (true, _, Some(_)) => return Err(InvalidExternalAuth::Protocol { protocol, own, field: "http" }),
        (false, Some(_), _) => return Err(InvalidExternalAuth::Protocol { protocol, own, field: "grpc" }),
        (true, None, _) | (false, _, None) => return Err(InvalidExternalAuth::NoConfig { protocol, own }),
        (true, Some(allowed), None) => {
            ExternalAuthProtocol::Grpc { allowed_request_headers: names("grpc.allowedHeaders", allowed)? }
        }
        (false, None, Some(HttpAuthView { path, allowed_headers, allowed_response_headers })) => {
            ExternalAuthProtocol::Http {
                path_prefix: prefix(path.unwrap_or_default())?.into(),
                allowed_request_headers: names("http.allowedHeaders", allowed_headers)?,
                allowed_response_headers: names("http.allowedResponseHeaders", allowed_response_headers)?,
            }
        }
    };
    let size = max_body.unwrap_or(0);
    let max_body_bytes = u32::try_from(size).ok().filter(|size| *size <= MAX_BODY);
    Ok(ExternalAuth {
        protocol,
        backend,
        max_body_bytes: max_body_bytes.ok_or(InvalidExternalAuth::MaxSize(size))?,
        timeout: TIMEOUT,
        fail_open: false,
        cache: None,
    })
}

fn names(field: &'static str, list: &[String]) -> Result<Vec<HeaderName>, InvalidExternalAuth> {
    let wrong = |name: &String| InvalidExternalAuth::Header { field, value: name.clone() };
    if let Some(name) = list.get(MAX_HEADERS) {
        return Err(wrong(name));
    }
    list.iter().map(|name| name.parse().map_err(|_| wrong(name))).collect()
}

fn prefix(path: &str) -> Result<&str, InvalidExternalAuth> {
    let sound =
        path.is_empty() || path.len() <= MAX_PATH && !path.contains(['?', '#']) && RequestPath::parse(path).is_ok();
    if sound { Ok(path) } else { Err(InvalidExternalAuth::Path(path.to_owned())) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use portcullis_ir::Filter;

    use super::*;
    use crate::filters::tests::{RULE, parse};

    #[test]
    fn every_field_is_taken_over() {
        let of = |yaml: &str| {
            let auth = format!("{{backendRef: {{name: auth, namespace: iam, port: 9000}}, {yaml}}}");
            let filters = parse(&format!("[{{type: ExternalAuth, externalAuth: {auth}}}]"), RULE).unwrap().filters;
            let [Filter::ExternalAuth(external)] = <[Filter; 1]>::try_from(filters).unwrap() else {
                panic!("one filter")
            };
            *external
        };
        let grpc = of("protocol: GRPC, grpc: {allowedHeaders: [Cookie]}, forwardBody: {maxSize: 8}");
        let ExternalAuthProtocol::Grpc { allowed_request_headers } = &grpc.protocol else { panic!("{grpc:?}") };
        assert_eq!((allowed_request_headers[0].as_str(), grpc.max_body_bytes, grpc.fail_open), ("cookie", 8, false));
        let http = of("protocol: HTTP, http: {path: /check, allowedHeaders: [x-a], allowedResponseHeaders: [x-b]}");
        let ExternalAuthProtocol::Http { path_prefix, allowed_request_headers, allowed_response_headers } =
            &http.protocol
        else {
            panic!("{http:?}")
        };
        assert_eq!(&**path_prefix, "/check");
        assert_eq!((allowed_request_headers[0].as_str(), allowed_response_headers[0].as_str()), ("x-a", "x-b"));
        assert_eq!((http.max_body_bytes, http.timeout), (0, TIMEOUT));
    }

    #[test]
    fn a_mistake_denies_and_says_which_it_is() {
        for (yaml, part) in [
            ("protocol: GRPC", "externalAuth.grpc is missing"),
            ("protocol: HTTP, grpc: {}", "externalAuth.grpc does not fit protocol HTTP"),
            ("protocol: GRPC, grpc: {}, http: {}", "externalAuth.http does not fit protocol GRPC"),
            ("protocol: HTTP, http: {allowedHeaders: ['a b']}", "externalAuth.http.allowedHeaders \"a b\""),
            ("protocol: HTTP, http: {path: '/a?b'}", "externalAuth.http.path"),
            ("protocol: HTTP, http: {}, forwardBody: {maxSize: -1}", "externalAuth.forwardBody.maxSize -1"),
            ("protocol: HTTP, http: {}, forwardBody: {maxSize: 1048577}", "externalAuth.forwardBody.maxSize 1048577"),
        ] {
            let auth = format!("{{backendRef: {{name: auth, port: 9000}}, {yaml}}}");
            let why = parse(&format!("[{{type: ExternalAuth, externalAuth: {auth}}}]"), RULE).unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
        }
    }
}
