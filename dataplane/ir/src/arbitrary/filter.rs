//! Filters, redirects and targets.

use http::{HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::sample::select;
use proptest::strategy::{Just, Strategy};
use proptest::{bool, option, prop_oneof};

use super::name::{backend_key, header_name, host, path, value};
use crate::{
    Cors, CorsNames, CorsOrigin, Failure, Filter, Fraction, HeaderEdits, Mirror, PathRewrite, Redirect, Target,
    UrlRewrite,
};

pub fn filter() -> impl Strategy<Value = Filter> {
    prop_oneof![
        edits().prop_map(Filter::RequestHeaders),
        edits().prop_map(Filter::ResponseHeaders),
        (option::of(host()), option::of(path_rewrite()))
            .prop_map(|(hostname, path)| Filter::UrlRewrite(UrlRewrite { hostname, path })),
        (target(), 0..=100_u32).prop_map(|(target, numerator)| {
            Filter::Mirror(Mirror { target, share: Fraction { numerator, denominator: 100 } })
        }),
        cors().prop_map(Filter::Cors),
        super::auth::external().prop_map(|external| Filter::ExternalAuth(Box::new(external))),
    ]
}

fn cors() -> impl Strategy<Value = Cors> {
    let origin = prop_oneof![
        Just(CorsOrigin::Any),
        Just(CorsOrigin::Exact("https://example.com".into())),
        Just(CorsOrigin::Wildcard { prefix: "https://".into(), suffix: ".example.com:8443".into() }),
        Just(CorsOrigin::Wildcard { prefix: "http://".into(), suffix: "".into() }),
    ];
    (vec(origin, 0..3), [names(), names(), names()], bool::ANY, 1..=86_400_u32).prop_map(
        |(allow_origins, [allow_methods, allow_headers, expose_headers], allow_credentials, max_age)| Cors {
            allow_origins,
            allow_methods,
            allow_headers,
            expose_headers,
            allow_credentials,
            max_age,
        },
    )
}

fn names() -> impl Strategy<Value = CorsNames> {
    prop_oneof![
        1 => Just(CorsNames::Any),
        3 => vec(select(vec!["GET", "x-one", "x-two"]), 0..3)
            .prop_map(|names| CorsNames::List(names.into_iter().map(Into::into).collect())),
    ]
}

pub fn redirect() -> impl Strategy<Value = Redirect> {
    let scheme = option::of(select(vec!["http", "https"]));
    let status = select(vec![301, 302, 303, 307, 308]);
    (scheme, option::of(host()), option::of(super::port()), option::of(path_rewrite()), status).prop_map(
        |(scheme, hostname, port, path, status)| Redirect {
            scheme: scheme.map(Into::into),
            hostname,
            port,
            path,
            status,
        },
    )
}

pub fn target() -> impl Strategy<Value = Target> {
    prop_oneof![4 => backend_key().prop_map(Target::Backend), 1 => failure().prop_map(Target::Invalid)]
}

pub(super) fn failure() -> impl Strategy<Value = Failure> {
    select(vec![
        Failure::InvalidBackend,
        Failure::InvalidFilter,
        Failure::NoBackends,
        Failure::InvalidMatch,
        Failure::InvalidBackendTls,
    ])
}

fn path_rewrite() -> impl Strategy<Value = PathRewrite> {
    prop_oneof![
        path().prop_map(|path| PathRewrite::Full(path.into())),
        path().prop_map(|path| PathRewrite::Prefix(path.into())),
    ]
}

/// Each name once across the three lists.
fn edits() -> impl Strategy<Value = HeaderEdits> {
    vec((header_name(), value(), 0..3_u8), 0..4).prop_map(|entries| {
        let mut edits = HeaderEdits::default();
        let mut used: Vec<HeaderName> = Vec::new();
        for (name, value, list) in entries {
            if used.contains(&name) {
                continue;
            }
            used.push(name.clone());
            // Any text of the pool is a header value as bytes.
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap_or(HeaderValue::from_static("-"));
            match list {
                0 => edits.set.push((name, value)),
                1 => edits.add.push((name, value)),
                _ => edits.remove.push(name),
            }
        }
        edits
    })
}
