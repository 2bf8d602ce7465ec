//! Preflights are the gateway's to answer, and answers say which pages may read them.

use http::Request;
use portcullis_ir as ir;

use super::support::gateway::{prefix, to};
use super::support::h2::{connect, exchange};
use super::support::{Backend, Gateway, Response, Setup, ok};

fn names(names: &[&str]) -> ir::CorsNames {
    match names {
        ["*"] => ir::CorsNames::Any,
        names => ir::CorsNames::List(names.iter().map(|name| (*name).into()).collect()),
    }
}

/// What the API's own example says.
fn policy() -> ir::Cors {
    ir::Cors {
        allow_origins: vec![
            ir::CorsOrigin::Exact("https://www.foo.com".into()),
            ir::CorsOrigin::Wildcard { prefix: "https://".into(), suffix: ".bar.com".into() },
        ],
        allow_methods: names(&["GET", "OPTIONS"]),
        allow_headers: names(&["x-header-1", "x-header-2"]),
        expose_headers: names(&["x-header-3", "x-header-4"]),
        allow_credentials: true,
        max_age: 3600,
    }
}

fn any(credentials: bool) -> ir::Cors {
    ir::Cors {
        allow_origins: vec![ir::CorsOrigin::Any],
        allow_methods: names(&["*"]),
        allow_headers: names(&["*"]),
        expose_headers: names(&[]),
        allow_credentials: credentials,
        max_age: 5,
    }
}

fn with(cors: ir::Cors) -> impl FnOnce(&mut ir::Route) {
    move |route| route.filters = vec![ir::Filter::Cors(cors)]
}

async fn ask(gateway: &Gateway, head: &str) -> Response {
    let mut client = gateway.connect().await;
    client.send(format!("{}\r\nhost: a.test\r\n\r\n", head.replace('\n', "\r\n"))).await;
    client.response().await
}

/// All that an answer says about other origins.
fn said(response: &Response) -> Vec<(&str, &str)> {
    let said = response.headers.iter().filter(|(name, _)| name.starts_with("access-control-") || name == "vary");
    let mut said: Vec<_> = said.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    said.sort_unstable();
    said
}

#[tokio::test]
async fn a_preflight_of_an_allowed_origin_is_told_everything_and_goes_no_further() {
    let backend = Backend::echoing_lines().await;
    let setup = Setup::new().backend("b", &[backend.address], ir::Protocol::Http);
    let gateway = setup.route(with(policy())).start().await;
    let mut client = gateway.connect().await;
    for origin in ["https://www.foo.com", "https://www.bar.com", "https://xpto.www.bar.com"] {
        client
            .send(format!(
                "OPTIONS /cors HTTP/1.1\r\nhost: a\r\norigin: {origin}\r\naccess-control-request-method: GET\r\n\
                 access-control-request-headers: x-header-1, x-header-2\r\n\r\n"
            ))
            .await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("content-length")), (204, None));
        let expected = [
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-headers", "x-header-1, x-header-2"),
            ("access-control-allow-methods", "GET, OPTIONS"),
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", "x-header-3, x-header-4"),
            ("access-control-max-age", "3600"),
            ("vary", "Origin"),
        ];
        assert_eq!(said(&response), expected);
    }
    assert!(backend.seen().is_empty());
    gateway.counts("portcullis_dataplane_request_flags_total{flag=\"PF\"}", 3).await;
}

#[tokio::test]
async fn a_preflight_of_another_origin_is_told_nothing_and_goes_no_further() {
    let backend = Backend::echoing_lines().await;
    let setup = Setup::new().backend("b", &[backend.address], ir::Protocol::Http);
    let gateway = setup.route(with(policy())).start().await;
    let huge = format!("https://{}.bar.com", "a".repeat(8000));
    for origin in ["https://foobar.com", "http://www.foo.com", "null", "https://www.foo.com, https://evil", &huge] {
        let head = format!("OPTIONS / HTTP/1.1\norigin: {origin}\naccess-control-request-method: GET");
        let response = ask(&gateway, &head).await;
        assert_eq!((response.status, said(&response)), (204, vec![("vary", "Origin")]), "{origin}");
    }
    let twice =
        "OPTIONS / HTTP/1.1\norigin: https://www.foo.com\norigin: https://evil\naccess-control-request-method: GET";
    assert_eq!(said(&ask(&gateway, twice).await), [("vary", "Origin")]);
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_rule_that_would_take_the_request() {
    let backend = Backend::echoing_lines().await;
    let rule = |method: Option<http::Method>, age: u32| {
        move |route: &mut ir::Route| {
            route.matches = vec![ir::Match { method, ..prefix("/a") }];
            route.filters = vec![ir::Filter::Cors(ir::Cors { max_age: age, ..policy() })];
        }
    };
    let gateway = Setup::new()
        .backend("b", &[backend.address], ir::Protocol::Http)
        .route(rule(Some(http::Method::GET), 1))
        .route(rule(Some(http::Method::POST), 2))
        .route(rule(Some(http::Method::OPTIONS), 3))
        .route(|route| route.matches = vec![prefix("/")])
        .start()
        .await;
    for (method, age) in [("GET", "1"), ("POST", "2"), ("PUT", "3")] {
        let head = format!("OPTIONS /a HTTP/1.1\norigin: https://www.foo.com\naccess-control-request-method: {method}");
        assert_eq!(ask(&gateway, &head).await.header("access-control-max-age"), Some(age), "{method}");
    }
    assert!(backend.seen().is_empty());
    // Where no rule has the filter, a preflight is a request like any other; and without all three parts it is none.
    for head in [
        "OPTIONS /b HTTP/1.1\norigin: https://www.foo.com\naccess-control-request-method: GET",
        "OPTIONS /a HTTP/1.1\norigin: https://www.foo.com",
        "OPTIONS /a HTTP/1.1\naccess-control-request-method: GET",
        "GET /a HTTP/1.1\norigin: https://www.foo.com\naccess-control-request-method: GET",
    ] {
        assert_eq!(ask(&gateway, head).await.status, 200, "{head}");
    }
    assert_eq!(backend.seen().len(), 4);
}

#[tokio::test]
async fn what_the_backend_says_about_origins_is_replaced() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\naccess-control-allow-origin: *\r\naccess-control-allow-origin: x\r\n\
          access-control-allow-credentials: true\r\naccess-control-allow-methods: PUT\r\nvary: Accept\r\n\r\nhi"
            .to_vec()
    })
    .await;
    let setup = Setup::new().backend("b", &[backend.address], ir::Protocol::Http);
    let quiet = ir::Cors { allow_credentials: false, expose_headers: names(&[]), ..policy() };
    let gateway = setup.route(with(quiet)).start().await;
    let response = ask(&gateway, "GET / HTTP/1.1\norigin: https://www.foo.com").await;
    let expected = [("access-control-allow-origin", "https://www.foo.com"), ("vary", "Accept"), ("vary", "Origin")];
    assert_eq!((said(&response), response.text().as_str()), (expected.to_vec(), "hi"));
    for head in ["GET / HTTP/1.1\norigin: https://foobar.com", "GET / HTTP/1.1"] {
        assert_eq!(said(&ask(&gateway, head).await), [("vary", "Accept"), ("vary", "Origin")], "{head}");
    }
    assert_eq!(backend.seen()[0].header("origin"), Some("https://www.foo.com"));
}

#[tokio::test]
async fn the_filter_has_the_last_word_on_the_way_back() {
    let backend = Backend::answering(|_| ok("")).await;
    let edits = ir::HeaderEdits {
        set: vec![(http::header::ACCESS_CONTROL_ALLOW_ORIGIN, http::HeaderValue::from_static("*"))],
        ..ir::HeaderEdits::default()
    };
    let gateway = Setup::new()
        .backend("b", &[backend.address], ir::Protocol::Http)
        .route(|route| route.filters = vec![ir::Filter::Cors(policy()), ir::Filter::ResponseHeaders(edits)])
        .start()
        .await;
    let response = ask(&gateway, "GET / HTTP/1.1\norigin: https://foobar.com").await;
    assert_eq!(said(&response), [("vary", "Origin")]);
}

#[tokio::test]
async fn a_star_is_said_without_credentials_and_an_echo_with_them() {
    let backend = Backend::answering(|_| ok("")).await;
    let gateway = Setup::new()
        .backend("b", &[backend.address], ir::Protocol::Http)
        .route(|route| {
            route.matches = vec![prefix("/open")];
            with(any(false))(route);
        })
        .route(|route| {
            route.matches = vec![prefix("/closed")];
            with(any(true))(route);
        })
        .start()
        .await;
    let preflight = |path: &str, names: &str| {
        format!(
            "OPTIONS {path} HTTP/1.1\norigin: https://foobar.com:12345\naccess-control-request-method: PUT\n\
             access-control-request-headers: {names}"
        )
    };
    let response = ask(&gateway, &preflight("/open", "x-a")).await;
    let expected = [
        ("access-control-allow-headers", "*"),
        ("access-control-allow-methods", "*"),
        ("access-control-allow-origin", "*"),
        ("access-control-max-age", "5"),
    ];
    assert_eq!(said(&response), expected);
    // The same for everybody, so that it may be cached for everybody.
    assert_eq!(said(&ask(&gateway, "GET /open HTTP/1.1").await), [("access-control-allow-origin", "*")]);

    let many = (0..500).map(|number| format!("x-header-{number}")).collect::<Vec<_>>().join(", ");
    for names in ["x-header-1, x-header-2", &many] {
        let response = ask(&gateway, &preflight("/closed", names)).await;
        let expected = [
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-headers", names),
            ("access-control-allow-methods", "PUT"),
            ("access-control-allow-origin", "https://foobar.com:12345"),
            ("access-control-max-age", "5"),
            ("vary", "Origin"),
        ];
        assert_eq!(said(&response), expected);
    }
    // What is no list of names is not said back.
    let response = ask(&gateway, &preflight("/closed", "x-a; <script>")).await;
    assert_eq!((response.status, response.header("access-control-allow-headers")), (204, None));
}

#[tokio::test]
async fn answers_of_our_own_can_be_read_by_those_who_may_read_the_backends() {
    let rule = |path: &'static str, action: ir::Action| {
        move |route: &mut ir::Route| {
            route.matches = vec![prefix(path)];
            route.action = action;
            with(policy())(route);
        }
    };
    let redirect = ir::Redirect { scheme: None, hostname: None, port: None, path: None, status: 302 };
    let gateway = Setup::new()
        .backend("empty", &[], ir::Protocol::Http)
        .route(rule("/broken", ir::Action::Fail(ir::Failure::InvalidFilter)))
        .route(rule("/none", ir::Action::Forward(vec![])))
        .route(rule("/empty", ir::Action::Forward(vec![to("empty")])))
        .route(rule("/moved", ir::Action::Redirect(Box::new(redirect))))
        .start()
        .await;
    for (path, status) in [("/broken", 500), ("/none", 500), ("/empty", 503), ("/moved", 302)] {
        let response = ask(&gateway, &format!("GET {path} HTTP/1.1\norigin: https://www.foo.com")).await;
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.header("access-control-allow-origin"), Some("https://www.foo.com"), "{path}");
        assert_eq!(response.header("access-control-allow-credentials"), Some("true"), "{path}");
        let response = ask(&gateway, &format!("GET {path} HTTP/1.1\norigin: https://evil.com")).await;
        assert_eq!(said(&response), [("vary", "Origin")], "{path}");
    }
    // No rule, so nobody's policy.
    assert_eq!(said(&ask(&gateway, "GET / HTTP/1.1\norigin: https://www.foo.com").await), []);
}

#[tokio::test]
async fn a_backends_own_filter_is_for_its_answers_alone() {
    let backend = Backend::answering(|_| ok("")).await;
    let own = ir::WeightedBackend { filters: vec![ir::Filter::Cors(policy())], ..to("b") };
    let gateway = Setup::new()
        .backend("b", &[backend.address], ir::Protocol::Http)
        .route(|route| route.action = ir::Action::Forward(vec![own, to("b")]))
        .start()
        .await;
    let mut granted = 0;
    for _ in 0..4 {
        let response = ask(&gateway, "GET / HTTP/1.1\norigin: https://www.foo.com").await;
        granted += usize::from(response.header("access-control-allow-origin").is_some());
    }
    assert_eq!(granted, 2);
    let preflight = "OPTIONS / HTTP/1.1\norigin: https://www.foo.com\naccess-control-request-method: GET";
    assert_eq!(ask(&gateway, preflight).await.header("access-control-max-age"), Some("3600"));
}

#[tokio::test]
async fn http_2_clients_are_told_the_same() {
    let backend = Backend::answering(|_| ok("hi")).await;
    let setup = Setup::new().backend("b", &[backend.address], ir::Protocol::Http);
    let gateway = setup.route(with(policy())).start().await;
    let client = connect(gateway.address()).await;
    let request = |method: &str| {
        let request = Request::builder().method(method).uri(format!("http://a.test:{}/", gateway.port));
        request.header("origin", "https://www.foo.com").header("access-control-request-method", "GET")
    };
    let answer = exchange(&client, request("OPTIONS").body(()).unwrap(), b"", None).await;
    assert_eq!((answer.head.status.as_u16(), answer.body.len()), (204, 0));
    assert_eq!(answer.head.headers["access-control-max-age"], "3600");
    let answer = exchange(&client, request("GET").body(()).unwrap(), b"", None).await;
    assert_eq!(answer.head.headers["access-control-allow-origin"], "https://www.foo.com");
    assert_eq!((answer.body.as_slice(), backend.seen().len()), (&b"hi"[..], 1));
}
