//! The filter ExternalAuth (GEP-1494), which is read and not served: whoever asks for it must not be let through
//! without it ("this filter MUST fail closed").

use http::HeaderName;
use portcullis_ir::PathView as RequestPath;

use crate::filter_view::{ExternalAuthView, RefView};

/// Most names of headers in one list.
const MAX_HEADERS: usize = 64;
/// Longest path (`HTTPAuthConfig.path`).
const MAX_PATH: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidExternalAuth {
    #[error(
        "filter ExternalAuth ({protocol}, {backend}) is not served yet, so the rule lets nobody through; remove the filter where requests need no authorization"
    )]
    NotServed { protocol: &'static str, backend: String },
    #[error("externalAuth.{field} does not fit protocol {protocol}; give {own} alone")]
    Protocol { protocol: &'static str, own: &'static str, field: &'static str },
    #[error("externalAuth.{own} is missing; protocol {protocol} needs it")]
    NoConfig { protocol: &'static str, own: &'static str },
    #[error("externalAuth.{field} {value:?} is no header name, or one too many; give at most {MAX_HEADERS} names")]
    Header { field: &'static str, value: String },
    #[error("externalAuth.http.path {0:?} cannot be requested; start it with `/` and leave out `?` and `#`")]
    Path(String),
    #[error("externalAuth.forwardBody.maxSize {0} is out of range; give 0 or more bytes")]
    MaxSize(i64),
}

/// Why the rule of such a filter denies. A mistake comes first: it will still be one when the filter is served.
pub(crate) fn refuse(view: &ExternalAuthView<'_>) -> InvalidExternalAuth {
    let ExternalAuthView { is_grpc, backend, grpc_headers, http, max_body } = view;
    let (protocol, own) = if *is_grpc { ("GRPC", "grpc") } else { ("HTTP", "http") };
    match (is_grpc, grpc_headers.is_some(), http.is_some()) {
        (true, _, true) => return InvalidExternalAuth::Protocol { protocol, own, field: "http" },
        (false, true, _) => return InvalidExternalAuth::Protocol { protocol, own, field: "grpc" },
        (true, false, _) | (false, _, false) => return InvalidExternalAuth::NoConfig { protocol, own },
        (true, true, false) | (false, false, true) => {}
    }
    let lists = [
        ("grpc.allowedHeaders", *grpc_headers),
        ("http.allowedHeaders", http.as_ref().map(|http| http.allowed_headers)),
        ("http.allowedResponseHeaders", http.as_ref().map(|http| http.allowed_response_headers)),
    ];
    for (field, list) in lists {
        let mut list = list.unwrap_or_default().iter().enumerate();
        let wrong = |(at, name): &(usize, &String)| *at >= MAX_HEADERS || name.parse::<HeaderName>().is_err();
        if let Some((_, wrong)) = list.find(wrong) {
            return InvalidExternalAuth::Header { field, value: wrong.clone() };
        }
    }
    if let Some(path) = http.as_ref().and_then(|http| http.path).filter(|path| !path.is_empty()) {
        let sound = path.len() <= MAX_PATH && !path.contains(['?', '#']) && RequestPath::parse(path).is_ok();
        if !sound {
            return InvalidExternalAuth::Path(path.to_owned());
        }
    }
    if let Some(size) = max_body.filter(|size| *size < 0) {
        return InvalidExternalAuth::MaxSize(size);
    }
    let RefView { group: _, kind, name, namespace, port } = backend;
    let namespace = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let backend = format!("{} {namespace}{name}{port}", kind.unwrap_or("Service"));
    InvalidExternalAuth::NotServed { protocol, backend }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::filters::tests::{RULE, parse};

    #[test]
    fn external_authorization_denies_and_says_which_mistakes_it_holds_besides() {
        let refused = |yaml: &str| {
            let auth = format!("{{backendRef: {{name: auth, namespace: iam, port: 9000}}, {yaml}}}");
            parse(&format!("[{{type: ExternalAuth, externalAuth: {auth}}}]"), RULE).unwrap_err().to_string()
        };
        let plain = refused("protocol: GRPC, grpc: {allowedHeaders: [cookie]}, forwardBody: {maxSize: 8}");
        assert!(plain.contains("(GRPC, Service iam/auth:9000) is not served yet"), "{plain}");
        for (yaml, part) in [
            ("protocol: GRPC", "externalAuth.grpc is missing"),
            ("protocol: HTTP, grpc: {}", "externalAuth.grpc does not fit protocol HTTP"),
            ("protocol: HTTP, http: {allowedHeaders: ['a b']}", "externalAuth.http.allowedHeaders \"a b\""),
            ("protocol: HTTP, http: {path: '/a?b'}", "externalAuth.http.path"),
            ("protocol: HTTP, http: {}, forwardBody: {maxSize: -1}", "externalAuth.forwardBody.maxSize -1"),
        ] {
            let why = refused(yaml);
            assert!(why.contains(part), "{why}");
        }
    }
}
