//! The service that is asked about requests.

use std::time::Duration;

use portcullis_crds::auth as api;
use portcullis_ir::{ExternalAuth, ExternalAuthCache, ExternalAuthProtocol, PathView};

use super::Compile;
use super::tokens::CACHE_ENTRIES;
use crate::policy::field::{Invalid, duration_within, header_names, key_parts, number_within};

/// How long the service is waited for unless a policy says otherwise.
const TIMEOUT: Duration = Duration::from_millis(200);
const MILLISECOND: Duration = Duration::from_millis(1);

impl Compile<'_, '_, '_> {
    pub(super) fn external(&mut self, written: &api::ExternalAuth) -> Result<ExternalAuth, Invalid> {
        let api::ExternalAuth { protocol, backend_ref, grpc, http, forward_body, timeout, failure_mode, cache } =
            written;
        let field = "spec.externalAuth";
        let protocol = match (protocol, grpc, http) {
            (api::ExternalAuthProtocol::Http, None, http) => http_protocol(http.as_ref())?,
            (api::ExternalAuthProtocol::Grpc, grpc, None) => {
                let allowed = grpc.as_ref().map(|grpc| grpc.allowed_headers.as_slice()).unwrap_or_default();
                let allowed_request_headers = header_names(&format!("{field}.grpc.allowedHeaders"), allowed)?;
                ExternalAuthProtocol::Grpc { allowed_request_headers }
            }
            (api::ExternalAuthProtocol::Http, Some(_), _) => {
                return Err(Invalid::new(format!("{field}.grpc"), "goes with protocol GRPC; remove it"));
            }
            (api::ExternalAuthProtocol::Grpc, _, Some(_)) => {
                return Err(Invalid::new(format!("{field}.http"), "goes with protocol HTTP; remove it"));
            }
        };
        let max_size = forward_body.as_ref().map_or(0, |body| i64::from(body.max_size));
        Ok(ExternalAuth {
            protocol,
            backend: self.backend(&format!("{field}.backendRef"), backend_ref)?,
            max_body_bytes: number_within(&format!("{field}.forwardBody.maxSize"), max_size, 0, 1_048_576)?,
            timeout: duration_within(
                &format!("{field}.timeout"),
                timeout.as_deref(),
                TIMEOUT,
                (MILLISECOND, Duration::from_secs(10)),
            )?,
            fail_open: *failure_mode == api::ExternalAuthFailureMode::Allow,
            cache: cache.as_ref().map(|cache| answers(&format!("{field}.cache"), cache)).transpose()?,
        })
    }
}

fn http_protocol(written: Option<&api::ExternalAuthHttp>) -> Result<ExternalAuthProtocol, Invalid> {
    let api::ExternalAuthHttp { path, allowed_headers, allowed_response_headers } =
        written.cloned().unwrap_or_default();
    let field = "spec.externalAuth.http";
    let prefix = path.unwrap_or_default();
    if !prefix.is_empty() && (prefix.contains(['?', '#']) || PathView::parse(&prefix).is_err()) {
        let why = format!("{prefix:?} cannot be requested; start it with `/` and leave out `?` and `#`");
        return Err(Invalid::new(format!("{field}.path"), why));
    }
    Ok(ExternalAuthProtocol::Http {
        path_prefix: prefix.into(),
        allowed_request_headers: header_names(&format!("{field}.allowedHeaders"), &allowed_headers)?,
        allowed_response_headers: header_names(&format!("{field}.allowedResponseHeaders"), &allowed_response_headers)?,
    })
}

fn answers(field: &str, written: &api::ExternalAuthCache) -> Result<ExternalAuthCache, Invalid> {
    let api::ExternalAuthCache { key, ttl, max_entries } = written;
    if key.is_empty() || key.len() > 8 {
        return Err(Invalid::new(format!("{field}.key"), "needs 1 to 8 parts; give what the service looks at"));
    }
    let bounds = (MILLISECOND, Duration::from_secs(3600));
    Ok(ExternalAuthCache {
        key: key_parts(&format!("{field}.key"), key)?,
        ttl: duration_within(&format!("{field}.ttl"), Some(ttl), Duration::ZERO, bounds)?,
        max_entries: number_within(
            &format!("{field}.maxEntries"),
            max_entries.map_or(CACHE_ENTRIES, i64::from),
            1,
            1_000_000,
        )?,
    })
}
