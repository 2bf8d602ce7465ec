//! Fields that no resource may have: each is refused by name, or fails closed with a warning.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use portcullis_ir::{
    Action, Attachment, Backend, BackendKey, Certificate, CertificateKey, Endpoint, Endpoints, Failure, GatewayKey,
    HostPattern, Listener, ListenerKey, ListenerProtocol, Match, Protocol, Resource, Route, RouteHostname, RouteKey,
    Secret, Source, Target, Timeouts, TlsTermination, WeightedBackend,
};
use portcullis_wire::proto::resource::Spec;
use portcullis_wire::{Diagnostics, decode, decode_with, encode, proto};

fn listener_key(name: &str) -> ListenerKey {
    ListenerKey::new(GatewayKey::new("default", "edge"), name)
}

fn route() -> Resource {
    let any = RouteHostname { effective: HostPattern::Any, written: HostPattern::Any };
    let attach = |name| Attachment::new(listener_key(name), vec![any.clone()]);
    let target = Target::Backend(BackendKey::service("default", "shop", 80));
    Resource::Route(Arc::new(Route {
        key: RouteKey::http("default", "shop", 0),
        rule_name: None,
        created: 0,
        attachments: vec![attach("a"), attach("b")],
        matches: vec![Match::default()],
        filters: Vec::new(),
        action: Action::Forward(vec![WeightedBackend { target, weight: 1, filters: Vec::new() }]),
        timeouts: Timeouts { request: Some(Duration::from_secs(1)), backend_request: None },
        retry: None,
        persistence: None,
    }))
}

fn listener() -> Resource {
    let certificates = vec![CertificateKey::new("default", "tls")];
    Resource::Listener(Arc::new(Listener {
        key: listener_key("https"),
        addresses: Vec::new(),
        port: 443,
        hostname: HostPattern::Any,
        protocol: ListenerProtocol::Https(TlsTermination { certificates, client_validation: None }),
        proxy_protocol: false,
        limits: None,
        auth: None,
        external: Vec::new(),
    }))
}

fn backend() -> Resource {
    Resource::Backend(Arc::new(Backend {
        key: BackendKey::service("default", "shop", 80),
        protocol: Protocol::Http,
        tls: None,
        source: Source::Endpoints,
        connect_timeout: Duration::from_secs(5),
        broken: None,
    }))
}

fn endpoints() -> Resource {
    let endpoint = |port| Endpoint { address: ([10, 0, 0, 1], port).into(), ready: true };
    let key = BackendKey::service("default", "shop", 80);
    Resource::Endpoints(Arc::new(Endpoints { key, endpoints: vec![endpoint(1), endpoint(2)] }))
}

fn certificate() -> Resource {
    let key = CertificateKey::new("default", "tls");
    let private_key = Secret::new(*b"hunter2");
    Resource::Certificate(Arc::new(Certificate { key, chain: vec![Box::new([1])], private_key }))
}

/// What the reader says of a resource after `edit`.
fn refusal(resource: &Resource, edit: impl FnOnce(&mut proto::Resource)) -> String {
    let mut message = encode(resource);
    edit(&mut message);
    decode_with(message, &mut Diagnostics::default()).unwrap_err().to_string()
}

fn route_refusal(edit: impl FnOnce(&mut proto::Route)) -> String {
    refusal(&route(), |message| match &mut message.spec {
        Some(Spec::Route(route)) => edit(route),
        _ => unreachable!("a route"),
    })
}

/// The action and the warning of a route after `edit`.
fn warned(edit: impl FnOnce(&mut proto::Route)) -> (Action, String) {
    let mut message = encode(&route());
    match &mut message.spec {
        Some(Spec::Route(route)) => edit(route),
        _ => unreachable!("a route"),
    }
    assert!(decode(message.clone()).is_err(), "the pre-flight takes no warning");
    let mut diagnostics = Diagnostics::default();
    let Ok(Resource::Route(route)) = decode_with(message, &mut diagnostics) else { panic!("the route is kept") };
    let [warning] = &diagnostics.warnings[..] else { panic!("one warning: {diagnostics:?}") };
    assert!(route.filters.is_empty());
    (route.action.clone(), warning.to_string())
}

#[test]
fn a_key_must_be_there_and_of_the_kind_of_its_resource() {
    assert!(refusal(&route(), |message| message.key = None).starts_with("key: is missing"));
    assert!(refusal(&route(), |message| message.spec = None).starts_with("spec: is missing"));
    let other = encode(&listener()).key;
    assert!(refusal(&route(), |message| message.key = other).starts_with("spec: is of another kind"));
}

#[test]
fn names_are_bounded() {
    for (name, expected) in [
        (String::new(), "key.certificate.name: is missing"),
        ("a".repeat(254), "key.certificate.name: is 254 bytes long"),
        ("a/b".to_owned(), "key.certificate.name: holds a character"),
        ("a\nb".to_owned(), "key.certificate.name: holds a character"),
    ] {
        let error = refusal(&certificate(), |message| {
            message.key = Some(proto::ResourceKey {
                kind: Some(proto::resource_key::Kind::Certificate(proto::CertificateKey {
                    namespace: "default".into(),
                    name: name.clone(),
                })),
            });
        });
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_route_is_bounded_field_by_field() {
    let text = |length| "a".repeat(length);
    type Edit = Box<dyn FnOnce(&mut proto::Route)>;
    let cases: Vec<(Edit, &str)> = vec![
        (Box::new(|route| route.rule_name = "a".repeat(254)), "route.rule_name: is 254 bytes long"),
        (Box::new(|route| route.attachments.clear()), "route.attachments: has 0 entries"),
        (Box::new(|route| route.attachments.reverse()), "route.attachments[1]: is out of order"),
        (Box::new(|route| route.attachments[1].hostnames.clear()), "route.attachments[1].hostnames: has 0 entries"),
        (
            Box::new(|route| route.attachments[0].hostnames[0].effective = "a b".into()),
            "route.attachments[0].hostnames[0].effective: host holds",
        ),
        (Box::new(|route| route.matches.clear()), "route.matches: has 0 entries; it must have 1 to 256"),
        (Box::new(|route| route.matches = vec![proto::Match::default(); 257]), "route.matches: has 257 entries"),
        (Box::new(|route| route.matches[0].path = None), "route.matches[0].path: has a kind"),
        (Box::new(move |route| route.matches[0].method = text(65)), "route.matches[0].method: is 65 bytes long"),
        (Box::new(|route| route.matches[0].method = "G T".into()), "route.matches[0].method: is no HTTP method"),
        (Box::new(|route| route.request_timeout = Some(0)), "route.request_timeout: is 0"),
        (Box::new(|route| route.backend_request_timeout = Some(u64::MAX)), "route.backend_request_timeout: is 1844"),
    ];
    for (edit, expected) in cases {
        let error = route_refusal(edit);
        assert!(error.starts_with(expected), "{error} instead of {expected}");
    }
}

#[test]
fn paths_and_expressions_are_checked_where_they_are_read() {
    use proto::path_match::Kind;
    for (kind, expected) in [
        (Kind::Exact("a".into()), "exact: does not start with a slash"),
        (Kind::Exact(format!("/{}", "a".repeat(4096))), "exact: is 4097 bytes long"),
        (Kind::Prefix("/a/".into()), "prefix: ends in a slash"),
        (Kind::Regex("(".into()), "regex: regular expression does not parse"),
        (Kind::Regex("((a{100}){100}){100}".into()), "regex: regular expression compiles to more"),
        (Kind::GrpcMethod(proto::StringMatch { kind: None }), "grpc_method: has a kind that this build does not know"),
    ] {
        let error = route_refusal(|route| route.matches[0].path = Some(proto::PathMatch { kind: Some(kind) }));
        assert!(error.starts_with(&format!("route.matches[0].path.{expected}")), "{error}");
    }
}

#[test]
fn weights_are_bounded() {
    let error = route_refusal(|route| match &mut route.action {
        Some(proto::route::Action::Forward(forward)) => forward.backends[0].weight = 1_000_001,
        _ => unreachable!("a forward"),
    });
    assert_eq!(error, "route.backends[0].weight: is 1000001; it must be at most 1000000");
}

#[test]
fn what_is_unknown_in_a_route_fails_closed_with_a_warning() {
    let (action, warning) = warned(|route| route.action = None);
    assert_eq!(action, Action::Fail(Failure::NoBackends));
    assert!(warning.starts_with("route.action: has a kind that this build does not know"), "{warning}");

    let (action, warning) = warned(|route| route.action = Some(proto::route::Action::Fail(99)));
    assert_eq!(action, Action::Fail(Failure::NoBackends));
    assert!(warning.starts_with("route.fail: "), "{warning}");

    let (action, warning) = warned(|route| route.filters = vec![proto::Filter { kind: None }]);
    assert_eq!(action, Action::Fail(Failure::InvalidFilter));
    assert!(warning.starts_with("route.filters[0]: "), "{warning}");

    let (action, warning) = warned(|route| {
        route.action = Some(proto::route::Action::Redirect(proto::Redirect { status: 200, ..Default::default() }));
    });
    assert_eq!(action, Action::Fail(Failure::InvalidFilter));
    assert_eq!(warning, "route.redirect.status: is 200; it must be 301, 302, 303, 307 or 308");
}

#[test]
fn a_backend_of_a_rule_that_is_unknown_denies_its_share_alone() {
    let denied = |edit: fn(&mut proto::WeightedBackend)| {
        let (action, warning) = warned(|route| match &mut route.action {
            Some(proto::route::Action::Forward(forward)) => {
                let mut broken = forward.backends[0].clone();
                edit(&mut broken);
                forward.backends.push(broken);
            }
            _ => unreachable!("a forward"),
        });
        let Action::Forward(backends) = action else { panic!("still a forward") };
        assert!(matches!(backends[0].target, Target::Backend(_)));
        (backends[1].target.clone(), warning)
    };
    let (target, warning) = denied(|backend| backend.target = None);
    assert_eq!(target, Target::Invalid(Failure::InvalidBackend));
    assert!(warning.starts_with("route.backends[1].target: "), "{warning}");
    let (target, warning) = denied(|backend| backend.filters = vec![proto::Filter { kind: None }]);
    assert_eq!(target, Target::Invalid(Failure::InvalidFilter));
    assert!(warning.starts_with("route.backends[1].filters[0]: "), "{warning}");
}

#[test]
fn a_rewrite_cannot_smuggle_a_line_break() {
    let path = proto::PathRewrite { kind: Some(proto::path_rewrite::Kind::Full("/a HTTP/1.1\r\nx: y".into())) };
    let rewrite = proto::UrlRewrite { hostname: None, path: Some(path) };
    let (action, warning) = warned(|route| {
        route.filters = vec![proto::Filter { kind: Some(proto::filter::Kind::UrlRewrite(rewrite)) }];
    });
    assert_eq!(action, Action::Fail(Failure::InvalidFilter));
    assert!(warning.starts_with("route.filters[0].url_rewrite.path.full: holds a space"), "{warning}");
}

#[test]
fn listeners_backends_and_live_things_are_bounded_too() {
    let error = refusal(&listener(), |message| match &mut message.spec {
        Some(Spec::Listener(listener)) => listener.port = 65_536,
        _ => unreachable!("a listener"),
    });
    assert_eq!(error, "listener.port: is 65536; it must be a port from 1 to 65535");
    let error = refusal(&listener(), |message| match &mut message.spec {
        Some(Spec::Listener(listener)) => {
            let certificates = vec![Default::default(); 65];
            listener.protocol =
                Some(proto::listener::Protocol::Https(proto::TlsTermination { certificates, client_validation: None }))
        }
        _ => unreachable!("a listener"),
    });
    assert!(error.starts_with("listener.https.certificates: has 65 entries"), "{error}");
    let error = refusal(&listener(), |message| match &mut message.spec {
        Some(Spec::Listener(listener)) => listener.addresses = vec![vec![1, 2, 3]],
        _ => unreachable!("a listener"),
    });
    assert!(error.starts_with("listener.addresses[0]: is no address"), "{error}");
    let error = refusal(&backend(), |message| match &mut message.spec {
        Some(Spec::Backend(backend)) => backend.protocol = 0,
        _ => unreachable!("a backend"),
    });
    assert!(error.starts_with("backend.protocol: is missing"), "{error}");
    let error = refusal(&endpoints(), |message| match &mut message.spec {
        Some(Spec::Endpoints(endpoints)) => endpoints.endpoints.reverse(),
        _ => unreachable!("endpoints"),
    });
    assert!(error.starts_with("endpoints.endpoints[1]: is out of order"), "{error}");
}

#[test]
fn an_error_about_a_private_key_does_not_show_it() {
    let error = refusal(&certificate(), |message| match &mut message.spec {
        Some(Spec::Certificate(certificate)) => certificate.private_key = b"hunter2".repeat(10_000),
        _ => unreachable!("a certificate"),
    });
    assert_eq!(error, "certificate.private_key: is 70000 bytes long; shorten it to at most 65536 bytes");
}

#[test]
fn a_policy_that_is_unknown_in_part_denies_and_is_never_skipped() {
    use portcullis_ir::{Auth, BrokenAuth};
    use portcullis_wire::proto::auth::Kind;
    let user = proto::IdentityHeader {
        name: "x-user".into(),
        value: Some(proto::identity_header::Value::Claim("sub".into())),
    };
    let unknown = proto::AuthMethod { name: "later".into(), kind: None };
    let policy = proto::AuthPolicy {
        identity_headers: vec![user],
        methods: vec![unknown],
        require: proto::Require::Any.into(),
        ..proto::AuthPolicy::default()
    };
    let auth = proto::Auth { kind: Some(Kind::Enforce(policy)) };
    let mut sent = encode(&listener());
    let Some(Spec::Listener(spec)) = &mut sent.spec else { panic!() };
    spec.auth = Some(auth);
    let mut diagnostics = Diagnostics::default();
    let Resource::Listener(read) = decode_with(sent, &mut diagnostics).unwrap() else { panic!() };
    let Some(Auth::Broken(BrokenAuth { identity_headers, .. })) = read.auth.as_deref() else { panic!("{read:?}") };
    assert_eq!(*identity_headers, ["x-user"], "what clients may not claim is known all the same");
    assert!(diagnostics.warnings[0].to_string().starts_with("listener.auth.enforce."), "{diagnostics:?}");
    let mut sent = encode(&route());
    let Some(Spec::Route(spec)) = &mut sent.spec else { panic!() };
    spec.attachments[1].auth = Some(proto::Auth { kind: None });
    let mut diagnostics = Diagnostics::default();
    let Resource::Route(read) = decode_with(sent, &mut diagnostics).unwrap() else { panic!() };
    assert!(read.attachments[0].auth.is_none(), "the other attachment is as it was");
    assert!(matches!(read.attachments[1].auth.as_deref(), Some(Auth::Broken(_))));
    assert!(diagnostics.warnings[0].to_string().starts_with("route.attachments[1].auth"), "{diagnostics:?}");
}
