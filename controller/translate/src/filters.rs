//! What a rule does to requests and responses: `HTTPRouteFilter` to [`ir::Filter`] and [`ir::Redirect`].
//!
//! "If a reference to a custom filter type cannot be resolved, the filter MUST NOT be skipped. Instead, requests that
//! would have been processed by that filter MUST receive a HTTP error response" (`HTTPRouteFilter.type`): any filter
//! that cannot be honoured makes its rule deny.

use http::HeaderName;
use portcullis_ir::{
    BackendKey, Failure, Filter, Fraction, Host, Mirror, PathRewrite, PathView as RequestPath, Redirect, Target,
    UrlRewrite,
};

use crate::condition::Reason;
use crate::cors::{self, InvalidCors};
use crate::external_auth::{self, InvalidExternalAuth};
use crate::filter_view::{FilterKind, FilterView, MirrorView, PathView, RedirectView, RefView, RewriteView};
use crate::header_edits;
use crate::lenient::UNKNOWN_FILTER;

/// Most filters of a rule or of one of its backendRefs.
const MAX_FILTERS: usize = 16;
/// Longest header value (`HTTPHeader.value`).
pub(crate) const MAX_VALUE: usize = 4096;
/// Longest replacement (`HTTPPathModifier`).
const MAX_PATH: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Filters {
    pub(crate) filters: Vec<Filter>,
    pub(crate) redirect: Option<Redirect>,
}

/// Where filters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Rule {
        /// Whether every match is a prefix, without which there is no prefix to replace.
        prefixes: bool,
        /// Whether the rule has backendRefs, beside which nothing can redirect.
        backends: bool,
    },
    BackendRef {
        prefixes: bool,
    },
}

/// What names a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Mirror,
    ExternalAuth,
}

impl Named {
    /// For places in conditions.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::ExternalAuth => "externalAuth",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidFilter {
    #[error("filter type {0:?} is not known; remove the filter")]
    UnknownType(String),
    #[error("{0}")]
    Cors(#[from] InvalidCors),
    #[error("{0}")]
    ExternalAuth(#[from] InvalidExternalAuth),
    #[error("filter ExtensionRef to {0} is of a kind that is not known; remove it")]
    Extension(String),
    #[error("filter {0} is not supported on a backendRef; move it to the rule")]
    OnBackend(&'static str),
    #[error("filter {0} says nothing; give its field of the same name")]
    Empty(&'static str),
    #[error("filter {0} occurs twice; join them")]
    Repeated(&'static str),
    #[error("more than {MAX_FILTERS} filters; split the rule")]
    TooMany,
    #[error("RequestRedirect cannot stand beside {0}; remove one of them")]
    RedirectBeside(&'static str),
    #[error("header name {0:?} is no header name; use letters, digits and `-`")]
    HeaderName(String),
    #[error("header {0} frames the message and cannot be edited; remove it (URLRewrite.hostname changes host)")]
    NotEditable(HeaderName),
    #[error("header {0} is edited twice; only one action per name is allowed")]
    EditedTwice(HeaderName),
    #[error("value of header {0} holds control characters or is longer than {MAX_VALUE} bytes; change it")]
    HeaderValue(HeaderName),
    #[error("{field} {value:?} is no host name; give one without a port or a wildcard")]
    Hostname { field: &'static str, value: String },
    #[error("{filter} path of type {kind} needs {field}; give it")]
    NoPath { filter: &'static str, kind: &'static str, field: &'static str },
    #[error(
        "replacement path {0:?} cannot be requested; start it with `/`, leave out `?` and `#`, percent-encode the rest"
    )]
    Path(String),
    #[error(
        "replacePrefixMatch needs every match of the rule to be of type PathPrefix; change the matches or use replaceFullPath"
    )]
    NoPrefix,
    #[error("redirect port {0} is no port; give 1 to 65535")]
    Port(i32),
    #[error("redirect status {0} is not supported; give 301, 302, 303, 307 or 308")]
    Status(i64),
    #[error("mirror gives both percent and fraction; keep one")]
    TwoShares,
    #[error("mirror share {0} is not between none and all; give 0 to 100 percent, or a fraction of at most 1")]
    Share(String),
}

impl InvalidFilter {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::RedirectBeside(_) => Reason::IncompatibleFilters,
            _ => Reason::UnsupportedValue,
        }
    }
}

/// `resolve` resolves what a filter names; none when it is invalid, which drops a mirror alone ("this BackendRef is
/// invalid and must be dropped from the Gateway", `HTTPRequestMirrorFilter.backendRef`).
pub(crate) fn translate<'a>(
    views: impl IntoIterator<Item = FilterView<'a>>,
    place: Place,
    resolve: &mut dyn FnMut(RefView<'_>, Named) -> Option<BackendKey>,
) -> Result<Filters, InvalidFilter> {
    let views: Vec<_> = views.into_iter().collect();
    if views.len() > MAX_FILTERS {
        return Err(InvalidFilter::TooMany);
    }
    check_together(&views, place)?;
    let (Place::Rule { prefixes, .. } | Place::BackendRef { prefixes }) = place;
    let mut all = Filters::default();
    for view in &views {
        let empty = || InvalidFilter::Empty(view.kind.as_str());
        match view.kind {
            FilterKind::RequestHeaderModifier => {
                let edits = header_edits::translate(view.request_headers.as_ref().ok_or_else(empty)?)?;
                all.filters.push(Filter::RequestHeaders(edits));
            }
            FilterKind::ResponseHeaderModifier => {
                let edits = header_edits::translate(view.response_headers.as_ref().ok_or_else(empty)?)?;
                all.filters.push(Filter::ResponseHeaders(edits));
            }
            FilterKind::RequestMirror => {
                let view = view.mirror.as_ref().ok_or_else(empty)?;
                let share = share(view)?;
                if let Some(key) = resolve(view.backend, Named::Mirror) {
                    all.filters.push(Filter::Mirror(Mirror { target: Target::Backend(key), share }));
                }
            }
            FilterKind::RequestRedirect => {
                all.redirect = Some(redirect(view.redirect.as_ref().ok_or_else(empty)?, prefixes)?);
            }
            FilterKind::UrlRewrite => {
                let rewrite = rewrite(view.rewrite.as_ref().ok_or_else(empty)?, prefixes)?;
                all.filters.push(Filter::UrlRewrite(rewrite));
            }
            FilterKind::Cors => {
                all.filters.push(Filter::Cors(cors::translate(view.cors.as_ref().ok_or_else(empty)?)?));
            }
            FilterKind::ExternalAuth => {
                let view = view.external_auth.as_ref().ok_or_else(empty)?;
                // Unlike a mirror, what cannot be asked denies.
                let backend = resolve(view.backend, Named::ExternalAuth)
                    .map_or(Target::Invalid(Failure::InvalidBackend), Target::Backend);
                all.filters.push(Filter::ExternalAuth(Box::new(external_auth::translate(view, backend)?)));
            }
            FilterKind::ExtensionRef => {
                let (group, kind, name) = view.extension.ok_or_else(empty)?;
                if group == UNKNOWN_FILTER {
                    return Err(InvalidFilter::UnknownType(kind.to_owned()));
                }
                return Err(InvalidFilter::Extension(format!("{kind}.{group} {name}")));
            }
        }
    }
    Ok(all)
}

/// What filters may not do beside each other (the CEL rules of `HTTPRouteRule` and `HTTPBackendRef`).
fn check_together(views: &[FilterView<'_>], place: Place) -> Result<(), InvalidFilter> {
    let has = |kind| views.iter().any(|view| view.kind == kind);
    for (at, view) in views.iter().enumerate() {
        let many = matches!(view.kind, FilterKind::RequestMirror | FilterKind::ExtensionRef);
        if !many && views[..at].iter().any(|earlier| earlier.kind == view.kind) {
            return Err(InvalidFilter::Repeated(view.kind.as_str()));
        }
        // A preflight is answered, and a service asked, before a backend is chosen.
        let whole = matches!(
            view.kind,
            FilterKind::RequestMirror | FilterKind::RequestRedirect | FilterKind::Cors | FilterKind::ExternalAuth
        );
        if whole && matches!(place, Place::BackendRef { .. }) {
            return Err(InvalidFilter::OnBackend(view.kind.as_str()));
        }
    }
    if has(FilterKind::RequestRedirect) {
        if has(FilterKind::UrlRewrite) {
            return Err(InvalidFilter::RedirectBeside("URLRewrite"));
        }
        if matches!(place, Place::Rule { backends: true, .. }) {
            return Err(InvalidFilter::RedirectBeside("backendRefs"));
        }
    }
    Ok(())
}

fn share(view: &MirrorView<'_>) -> Result<Fraction, InvalidFilter> {
    let (numerator, denominator) = match (view.percent, view.fraction) {
        (None, None) => return Ok(Fraction::ALL),
        (Some(_), Some(_)) => return Err(InvalidFilter::TwoShares),
        (Some(percent), None) => (percent, 100),
        (None, Some((numerator, denominator))) => (numerator, denominator.unwrap_or(100)),
    };
    match (u32::try_from(numerator), u32::try_from(denominator)) {
        (Ok(numerator), Ok(denominator @ 1..)) if numerator <= denominator => Ok(Fraction { numerator, denominator }),
        _ => Err(InvalidFilter::Share(format!("{numerator}/{denominator}"))),
    }
}

fn redirect(view: &RedirectView<'_>, prefixes: bool) -> Result<Redirect, InvalidFilter> {
    let RedirectView { scheme, hostname, port, path, status } = view;
    Ok(Redirect {
        scheme: scheme.map(Into::into),
        hostname: hostname.map(|raw| host("redirect hostname", raw)).transpose()?,
        port: match *port {
            None => None,
            Some(raw) => Some(u16::try_from(raw).ok().filter(|port| *port != 0).ok_or(InvalidFilter::Port(raw))?),
        },
        path: path.as_ref().map(|path| rewrite_path("RequestRedirect", path, prefixes)).transpose()?,
        status: match status.unwrap_or(302) {
            301 => 301,
            302 => 302,
            303 => 303,
            307 => 307,
            308 => 308,
            other => return Err(InvalidFilter::Status(other)),
        },
    })
}

fn rewrite(view: &RewriteView<'_>, prefixes: bool) -> Result<UrlRewrite, InvalidFilter> {
    let RewriteView { hostname, path } = view;
    Ok(UrlRewrite {
        hostname: hostname.map(|raw| host("URLRewrite hostname", raw)).transpose()?,
        path: path.as_ref().map(|path| rewrite_path("URLRewrite", path, prefixes)).transpose()?,
    })
}

fn host(field: &'static str, raw: &str) -> Result<Host, InvalidFilter> {
    Host::parse(raw).map_err(|_| InvalidFilter::Hostname { field, value: raw.to_owned() })
}

fn rewrite_path(filter: &'static str, view: &PathView<'_>, prefixes: bool) -> Result<PathRewrite, InvalidFilter> {
    let missing = |kind, field| InvalidFilter::NoPath { filter, kind, field };
    if !view.prefix {
        let path = view.full_path.ok_or_else(|| missing("ReplaceFullPath", "replaceFullPath"))?;
        return Ok(PathRewrite::Full(replacement(path)?.into()));
    }
    let path = view.prefix_match.ok_or_else(|| missing("ReplacePrefixMatch", "replacePrefixMatch"))?;
    if !prefixes {
        return Err(InvalidFilter::NoPrefix);
    }
    // Nothing and `/` replace a prefix by the root.
    Ok(PathRewrite::Prefix(if path.is_empty() { "/".into() } else { replacement(path)?.into() }))
}

/// A path that a request may carry as it is.
fn replacement(path: &str) -> Result<&str, InvalidFilter> {
    let sound = path.len() <= MAX_PATH && !path.contains(['?', '#']) && RequestPath::parse(path).is_ok();
    if sound { Ok(path) } else { Err(InvalidFilter::Path(path.to_owned())) }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) const RULE: Place = Place::Rule { prefixes: true, backends: false };

    pub(crate) fn parse(yaml: &str, place: Place) -> Result<Filters, InvalidFilter> {
        let filters: Vec<gateway_api::experimental::httproutes::HttpRouteRulesFilters> =
            serde_norway::from_str(yaml).unwrap();
        translate(filters.iter().map(FilterView::from), place, &mut |view, _| {
            Some(BackendKey::service("ns", view.name, 80))
        })
    }

    #[test]
    fn shares_of_mirrors_are_fractions() {
        let share = |yaml: &str| {
            let filters =
                parse(&format!("[{{type: RequestMirror, requestMirror: {{backendRef: {{name: a}}{yaml}}}}}]"), RULE)?;
            match filters.filters.as_slice() {
                [Filter::Mirror(mirror)] => Ok((mirror.share.numerator, mirror.share.denominator)),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(share(""), Ok((1, 1)));
        assert_eq!(share(", percent: 20"), Ok((20, 100)));
        assert_eq!(share(", fraction: {numerator: 25, denominator: 50}"), Ok((25, 50)));
        assert_eq!(share(", fraction: {numerator: 5}"), Ok((5, 100)));
        for wrong in [
            ", percent: 101",
            ", percent: -1",
            ", fraction: {numerator: 2, denominator: 1}",
            ", fraction: {numerator: 0, denominator: 0}",
        ] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert_eq!(share(", percent: 1, fraction: {numerator: 1}"), Err(InvalidFilter::TwoShares));
    }

    #[test]
    fn a_prefix_is_replaced_only_where_there_is_one() {
        let yaml = "[{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: ''}}}]";
        let Filters { filters, .. } = parse(yaml, RULE).unwrap();
        let root = UrlRewrite { hostname: None, path: Some(PathRewrite::Prefix("/".into())) };
        assert_eq!(filters, [Filter::UrlRewrite(root)]);
        let place = Place::Rule { prefixes: false, backends: false };
        assert_eq!(parse(yaml, place).unwrap_err(), InvalidFilter::NoPrefix);
    }

    #[test]
    fn nothing_stands_beside_a_redirect() {
        let redirect = "{type: RequestRedirect, requestRedirect: {scheme: https}}";
        let place = Place::Rule { prefixes: true, backends: true };
        let beside = parse(&format!("[{redirect}]"), place).unwrap_err();
        assert_eq!(beside.reason(), Reason::IncompatibleFilters);
        let beside =
            parse(&format!("[{redirect}, {{type: URLRewrite, urlRewrite: {{hostname: a.b}}}}]"), RULE).unwrap_err();
        assert_eq!(beside.reason(), Reason::IncompatibleFilters);
        assert_eq!(parse(&format!("[{redirect}]"), RULE).unwrap().redirect.unwrap().status, 302);
    }

    #[test]
    fn what_is_not_built_is_refused_not_skipped() {
        for filter in [
            "{type: CORS}",
            "{type: CORS, cors: {allowOrigins: [example.com]}}",
            "{type: ExternalAuth}",
            "{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: auth, port: 80}}}",
            "{type: ExtensionRef, extensionRef: {group: example.net, kind: Magic, name: x}}",
            "{type: URLRewrite}",
            "{type: RequestRedirect, requestRedirect: {statusCode: 418}}",
            "{type: RequestRedirect, requestRedirect: {port: 70000}}",
            "{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: '/a?b'}}}",
            "{type: URLRewrite, urlRewrite: {hostname: '*.example.com'}}",
        ] {
            assert!(parse(&format!("[{filter}]"), RULE).is_err(), "{filter}");
        }
        let place = Place::BackendRef { prefixes: true };
        let mirror = "[{type: RequestMirror, requestMirror: {backendRef: {name: a}}}]";
        assert_eq!(parse(mirror, place).unwrap_err(), InvalidFilter::OnBackend("RequestMirror"));
        assert_eq!(parse("[{type: CORS, cors: {}}]", place).unwrap_err(), InvalidFilter::OnBackend("CORS"));
        assert_eq!(parse("[{type: ExternalAuth}]", place).unwrap_err(), InvalidFilter::OnBackend("ExternalAuth"));
    }

    #[test]
    fn cors_goes_along_with_a_redirect() {
        let cors = "{type: CORS, cors: {allowOrigins: [https://a.example], maxAge: 60}}";
        let redirect = "{type: RequestRedirect, requestRedirect: {scheme: https}}";
        let both = parse(&format!("[{cors}, {redirect}]"), RULE).unwrap();
        assert!(both.redirect.is_some());
        assert!(matches!(both.filters.as_slice(), [Filter::Cors(cors)] if cors.max_age == 60));
        assert_eq!(parse(&format!("[{cors}, {cors}]"), RULE).unwrap_err(), InvalidFilter::Repeated("CORS"));
    }
}
