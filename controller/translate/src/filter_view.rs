//! Rules and their backendRefs, of HTTPRoutes and of GRPCRoutes, write the same filters in unrelated type trees. All
//! become one view.

use gateway_api::experimental::{grpcroutes as grpc, httproutes as api};

pub(crate) struct FilterView<'a> {
    pub(crate) kind: FilterKind,
    pub(crate) request_headers: Option<HeadersView<'a>>,
    pub(crate) response_headers: Option<HeadersView<'a>>,
    pub(crate) mirror: Option<MirrorView<'a>>,
    pub(crate) redirect: Option<RedirectView<'a>>,
    pub(crate) rewrite: Option<RewriteView<'a>>,
    pub(crate) cors: Option<CorsView<'a>>,
    pub(crate) external_auth: Option<ExternalAuthView<'a>>,
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
    ExternalAuth,
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

pub(crate) struct CorsView<'a> {
    pub(crate) allow_origins: &'a [String],
    pub(crate) allow_methods: &'a [String],
    pub(crate) allow_headers: &'a [String],
    pub(crate) expose_headers: &'a [String],
    pub(crate) allow_credentials: bool,
    pub(crate) max_age: Option<i32>,
}

pub(crate) struct ExternalAuthView<'a> {
    pub(crate) is_grpc: bool,
    pub(crate) backend: RefView<'a>,
    /// `allowedHeaders` of `grpc`, if that is given.
    pub(crate) grpc_headers: Option<&'a [String]>,
    pub(crate) http: Option<HttpAuthView<'a>>,
    pub(crate) max_body: Option<i64>,
}

pub(crate) struct HttpAuthView<'a> {
    pub(crate) path: Option<&'a str>,
    pub(crate) allowed_headers: &'a [String],
    pub(crate) allowed_response_headers: &'a [String],
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
            Self::ExternalAuth => "ExternalAuth",
        }
    }
}

/// The view of an optional `HTTPHeaderFilter`.
macro_rules! headers_view {
    ($headers:expr) => {
        $headers.as_ref().map(|headers| HeadersView {
            set: headers.set.iter().flatten().map(|one| (&*one.name, &*one.value)).collect(),
            add: headers.add.iter().flatten().map(|one| (&*one.name, &*one.value)).collect(),
            remove: headers.remove.as_deref().unwrap_or_default(),
        })
    };
}

/// The view of an optional `HTTPRequestMirrorFilter`.
macro_rules! mirror_view {
    ($mirror:expr, $api:ident, $filter:ident, $reference:ident, $fraction:ident) => {
        $mirror.as_ref().map(|$api::$filter { backend_ref, fraction, percent }| {
            let $api::$reference { group, kind, name, namespace, port } = backend_ref;
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
                    .map(|$api::$fraction { denominator, numerator }| (*numerator, *denominator)),
            }
        })
    };
}

/// The view of a filter type. Every field is named, so that one that is new breaks the build.
macro_rules! filter_view {
    (
        $filter:ident, $kind:ident, $redirect:ident, $scheme:ident, $rewrite:ident, $mirror:ident, $mirror_ref:ident,
        $fraction:ident, $redirect_path:ident, $redirect_path_kind:ident, $rewrite_path:ident, $rewrite_path_kind:ident,
        $extension:ident, $cors:ident, $auth:ident, $auth_ref:ident, $auth_grpc:ident, $auth_http:ident,
        $auth_body:ident, $auth_protocol:ident
    ) => {
        impl<'a> From<&'a api::$filter> for FilterView<'a> {
            fn from(filter: &'a api::$filter) -> Self {
                let api::$filter {
                    cors,
                    external_auth,
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
                        api::$kind::ExternalAuth => FilterKind::ExternalAuth,
                    },
                    request_headers: headers_view!(request_header_modifier),
                    response_headers: headers_view!(response_header_modifier),
                    mirror: mirror_view!(request_mirror, api, $mirror, $mirror_ref, $fraction),
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
                    cors: cors.as_ref().map(
                        |api::$cors {
                             allow_credentials,
                             allow_headers,
                             allow_methods,
                             allow_origins,
                             expose_headers,
                             max_age,
                         }| CorsView {
                            allow_origins: allow_origins.as_deref().unwrap_or_default(),
                            allow_methods: allow_methods.as_deref().unwrap_or_default(),
                            allow_headers: allow_headers.as_deref().unwrap_or_default(),
                            expose_headers: expose_headers.as_deref().unwrap_or_default(),
                            allow_credentials: allow_credentials.unwrap_or_default(),
                            max_age: *max_age,
                        },
                    ),
                    external_auth: external_auth.as_ref().map(
                        |api::$auth { backend_ref, forward_body, grpc, http, protocol }| {
                            let api::$auth_ref { group, kind, name, namespace, port } = backend_ref;
                            ExternalAuthView {
                                is_grpc: *protocol == api::$auth_protocol::Grpc,
                                backend: RefView {
                                    group: group.as_deref(),
                                    kind: kind.as_deref(),
                                    name,
                                    namespace: namespace.as_deref(),
                                    port: *port,
                                },
                                grpc_headers: grpc.as_ref().map(|api::$auth_grpc { allowed_headers }| {
                                    allowed_headers.as_deref().unwrap_or_default()
                                }),
                                http: http.as_ref().map(
                                    |api::$auth_http { allowed_headers, allowed_response_headers, path }| {
                                        HttpAuthView {
                                            path: path.as_deref(),
                                            allowed_headers: allowed_headers.as_deref().unwrap_or_default(),
                                            allowed_response_headers: allowed_response_headers
                                                .as_deref()
                                                .unwrap_or_default(),
                                        }
                                    },
                                ),
                                max_body: forward_body.as_ref().and_then(|api::$auth_body { max_size }| *max_size),
                            }
                        },
                    ),
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
    HttpRouteRulesFiltersExtensionRef,
    HttpRouteRulesFiltersCors,
    HttpRouteRulesFiltersExternalAuth,
    HttpRouteRulesFiltersExternalAuthBackendRef,
    HttpRouteRulesFiltersExternalAuthGrpc,
    HttpRouteRulesFiltersExternalAuthHttp,
    HttpRouteRulesFiltersExternalAuthForwardBody,
    HttpRouteRulesFiltersExternalAuthProtocol
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
    HttpRouteRulesBackendRefsFiltersExtensionRef,
    HttpRouteRulesBackendRefsFiltersCors,
    HttpRouteRulesBackendRefsFiltersExternalAuth,
    HttpRouteRulesBackendRefsFiltersExternalAuthBackendRef,
    HttpRouteRulesBackendRefsFiltersExternalAuthGrpc,
    HttpRouteRulesBackendRefsFiltersExternalAuthHttp,
    HttpRouteRulesBackendRefsFiltersExternalAuthForwardBody,
    HttpRouteRulesBackendRefsFiltersExternalAuthProtocol
);

/// The same for a GRPCRoute, which has fewer kinds of filter.
macro_rules! grpc_filter_view {
    ($filter:ident, $kind:ident, $mirror:ident, $mirror_ref:ident, $fraction:ident, $extension:ident) => {
        impl<'a> From<&'a grpc::$filter> for FilterView<'a> {
            fn from(filter: &'a grpc::$filter) -> Self {
                let grpc::$filter {
                    extension_ref,
                    request_header_modifier,
                    request_mirror,
                    response_header_modifier,
                    r#type,
                } = filter;
                FilterView {
                    kind: match r#type {
                        grpc::$kind::RequestHeaderModifier => FilterKind::RequestHeaderModifier,
                        grpc::$kind::ResponseHeaderModifier => FilterKind::ResponseHeaderModifier,
                        grpc::$kind::RequestMirror => FilterKind::RequestMirror,
                        grpc::$kind::ExtensionRef => FilterKind::ExtensionRef,
                    },
                    request_headers: headers_view!(request_header_modifier),
                    response_headers: headers_view!(response_header_modifier),
                    mirror: mirror_view!(request_mirror, grpc, $mirror, $mirror_ref, $fraction),
                    redirect: None,
                    rewrite: None,
                    cors: None,
                    external_auth: None,
                    extension: extension_ref
                        .as_ref()
                        .map(|grpc::$extension { group, kind, name }| (&**group, &**kind, &**name)),
                }
            }
        }
    };
}

grpc_filter_view!(
    GrpcRouteRulesFilters,
    GrpcRouteRulesFiltersType,
    GrpcRouteRulesFiltersRequestMirror,
    GrpcRouteRulesFiltersRequestMirrorBackendRef,
    GrpcRouteRulesFiltersRequestMirrorFraction,
    GrpcRouteRulesFiltersExtensionRef
);

grpc_filter_view!(
    GrpcRouteRulesBackendRefsFilters,
    GrpcRouteRulesBackendRefsFiltersType,
    GrpcRouteRulesBackendRefsFiltersRequestMirror,
    GrpcRouteRulesBackendRefsFiltersRequestMirrorBackendRef,
    GrpcRouteRulesBackendRefsFiltersRequestMirrorFraction,
    GrpcRouteRulesBackendRefsFiltersExtensionRef
);
