//! Rules and their backendRefs write the same filters in two unrelated type trees. Both become one view.

use gateway_api::httproutes as api;

pub(crate) struct FilterView<'a> {
    pub(crate) kind: FilterKind,
    pub(crate) request_headers: Option<HeadersView<'a>>,
    pub(crate) response_headers: Option<HeadersView<'a>>,
    pub(crate) mirror: Option<MirrorView<'a>>,
    pub(crate) redirect: Option<RedirectView<'a>>,
    pub(crate) rewrite: Option<RewriteView<'a>>,
    /// Group, kind and name of an `extensionRef`.
    pub(crate) extension: Option<(&'a str, &'a str, &'a str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterKind {
    RequestHeaderModifier,
    ResponseHeaderModifier,
    RequestMirror,
    RequestRedirect,
    UrlRewrite,
    ExtensionRef,
    Cors,
}

pub(crate) struct HeadersView<'a> {
    pub(crate) set: Vec<(&'a str, &'a str)>,
    pub(crate) add: Vec<(&'a str, &'a str)>,
    pub(crate) remove: &'a [String],
}

pub(crate) struct MirrorView<'a> {
    pub(crate) backend: RefView<'a>,
    pub(crate) percent: Option<i32>,
    /// Numerator and denominator.
    pub(crate) fraction: Option<(i32, Option<i32>)>,
}

/// Any reference to a backend (`BackendObjectReference`).
#[derive(Clone, Copy)]
pub(crate) struct RefView<'a> {
    pub(crate) group: Option<&'a str>,
    pub(crate) kind: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) port: Option<i32>,
}

pub(crate) struct RedirectView<'a> {
    pub(crate) scheme: Option<&'static str>,
    pub(crate) hostname: Option<&'a str>,
    pub(crate) port: Option<i32>,
    pub(crate) path: Option<PathView<'a>>,
    pub(crate) status: Option<i64>,
}

pub(crate) struct RewriteView<'a> {
    pub(crate) hostname: Option<&'a str>,
    pub(crate) path: Option<PathView<'a>>,
}

/// A path modifier: whether it replaces a prefix, and what is given for either kind.
pub(crate) struct PathView<'a> {
    pub(crate) prefix: bool,
    pub(crate) full_path: Option<&'a str>,
    pub(crate) prefix_match: Option<&'a str>,
}

impl FilterKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RequestHeaderModifier => "RequestHeaderModifier",
            Self::ResponseHeaderModifier => "ResponseHeaderModifier",
            Self::RequestMirror => "RequestMirror",
            Self::RequestRedirect => "RequestRedirect",
            Self::UrlRewrite => "URLRewrite",
            Self::ExtensionRef => "ExtensionRef",
            Self::Cors => "CORS",
        }
    }
}

/// The view of a filter type. Every field is named, so that one that is new breaks the build.
macro_rules! filter_view {
    (
        $filter:ident, $kind:ident, $redirect:ident, $scheme:ident, $rewrite:ident, $mirror:ident, $mirror_ref:ident,
        $fraction:ident, $redirect_path:ident, $redirect_path_kind:ident, $rewrite_path:ident, $rewrite_path_kind:ident,
        $extension:ident
    ) => {
        impl<'a> From<&'a api::$filter> for FilterView<'a> {
            fn from(filter: &'a api::$filter) -> Self {
                let api::$filter {
                    cors: _,
                    extension_ref,
                    request_header_modifier,
                    request_mirror,
                    request_redirect,
                    response_header_modifier,
                    r#type,
                    url_rewrite,
                } = filter;
                FilterView {
                    kind: match r#type {
                        api::$kind::RequestHeaderModifier => FilterKind::RequestHeaderModifier,
                        api::$kind::ResponseHeaderModifier => FilterKind::ResponseHeaderModifier,
                        api::$kind::RequestMirror => FilterKind::RequestMirror,
                        api::$kind::RequestRedirect => FilterKind::RequestRedirect,
                        api::$kind::UrlRewrite => FilterKind::UrlRewrite,
                        api::$kind::ExtensionRef => FilterKind::ExtensionRef,
                        api::$kind::Cors => FilterKind::Cors,
                    },
                    request_headers: request_header_modifier.as_ref().map(|headers| HeadersView {
                        set: headers.set.iter().flatten().map(|one| (&*one.name, &*one.value)).collect(),
                        add: headers.add.iter().flatten().map(|one| (&*one.name, &*one.value)).collect(),
                        remove: headers.remove.as_deref().unwrap_or_default(),
                    }),
                    response_headers: response_header_modifier.as_ref().map(|headers| HeadersView {
                        set: headers.set.iter().flatten().map(|one| (&*one.name, &*one.value)).collect(),
                        add: headers.add.iter().flatten().map(|one| (&*one.name, &*one.value)).collect(),
                        remove: headers.remove.as_deref().unwrap_or_default(),
                    }),
                    mirror: request_mirror.as_ref().map(|api::$mirror { backend_ref, fraction, percent }| {
                        let api::$mirror_ref { group, kind, name, namespace, port } = backend_ref;
                        MirrorView {
                            backend: RefView {
                                group: group.as_deref(),
                                kind: kind.as_deref(),
                                name,
                                namespace: namespace.as_deref(),
                                port: *port,
                            },
                            percent: *percent,
                            fraction: fraction
                                .as_ref()
                                .map(|api::$fraction { denominator, numerator }| (*numerator, *denominator)),
                        }
                    }),
                    redirect: request_redirect.as_ref().map(
                        |api::$redirect { hostname, path, port, scheme, status_code }| RedirectView {
                            scheme: scheme.as_ref().map(|scheme| match scheme {
                                api::$scheme::Http => "http",
                                api::$scheme::Https => "https",
                            }),
                            hostname: hostname.as_deref(),
                            port: *port,
                            path: path.as_ref().map(
                                |api::$redirect_path { replace_full_path, replace_prefix_match, r#type }| PathView {
                                    prefix: *r#type == api::$redirect_path_kind::ReplacePrefixMatch,
                                    full_path: replace_full_path.as_deref(),
                                    prefix_match: replace_prefix_match.as_deref(),
                                },
                            ),
                            status: *status_code,
                        },
                    ),
                    rewrite: url_rewrite.as_ref().map(|api::$rewrite { hostname, path }| RewriteView {
                        hostname: hostname.as_deref(),
                        path: path.as_ref().map(
                            |api::$rewrite_path { replace_full_path, replace_prefix_match, r#type }| PathView {
                                prefix: *r#type == api::$rewrite_path_kind::ReplacePrefixMatch,
                                full_path: replace_full_path.as_deref(),
                                prefix_match: replace_prefix_match.as_deref(),
                            },
                        ),
                    }),
                    extension: extension_ref
                        .as_ref()
                        .map(|api::$extension { group, kind, name }| (&**group, &**kind, &**name)),
                }
            }
        }
    };
}

filter_view!(
    HttpRouteRulesFilters,
    HttpRouteRulesFiltersType,
    HttpRouteRulesFiltersRequestRedirect,
    HttpRouteRulesFiltersRequestRedirectScheme,
    HttpRouteRulesFiltersUrlRewrite,
    HttpRouteRulesFiltersRequestMirror,
    HttpRouteRulesFiltersRequestMirrorBackendRef,
    HttpRouteRulesFiltersRequestMirrorFraction,
    HttpRouteRulesFiltersRequestRedirectPath,
    HttpRouteRulesFiltersRequestRedirectPathType,
    HttpRouteRulesFiltersUrlRewritePath,
    HttpRouteRulesFiltersUrlRewritePathType,
    HttpRouteRulesFiltersExtensionRef
);

filter_view!(
    HttpRouteRulesBackendRefsFilters,
    HttpRouteRulesBackendRefsFiltersType,
    HttpRouteRulesBackendRefsFiltersRequestRedirect,
    HttpRouteRulesBackendRefsFiltersRequestRedirectScheme,
    HttpRouteRulesBackendRefsFiltersUrlRewrite,
    HttpRouteRulesBackendRefsFiltersRequestMirror,
    HttpRouteRulesBackendRefsFiltersRequestMirrorBackendRef,
    HttpRouteRulesBackendRefsFiltersRequestMirrorFraction,
    HttpRouteRulesBackendRefsFiltersRequestRedirectPath,
    HttpRouteRulesBackendRefsFiltersRequestRedirectPathType,
    HttpRouteRulesBackendRefsFiltersUrlRewritePath,
    HttpRouteRulesBackendRefsFiltersUrlRewritePathType,
    HttpRouteRulesBackendRefsFiltersExtensionRef
);
