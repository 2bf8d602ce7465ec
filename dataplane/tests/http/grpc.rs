//! What gRPC asks of a gateway beyond HTTP/2: backends that need not say what they speak, statuses that its clients
//! understand, deadlines, and names that no host would have.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use portcullis_ir as ir;

use super::support::gateway::{prefix, to};
use super::support::h2::{Answer, backend, body_of, connect, echo_backend, exchange};
use super::support::{Backend, Gateway, Setup, ok, soon};

const AUTHORITY: &str = "gateway_api_conformance.echo_basic.grpcecho.GrpcEcho";

fn grpc(route: &mut ir::Route) {
    route.key = ir::RouteKey::new(ir::RouteKind::GrpcRoute, "test", "grpc", route.key.rule);
}

async fn call_with(gateway: &Gateway, path: &str, more: &[(&str, &str)], body: &[u8]) -> Answer {
    let client = connect(gateway.address()).await;
    let mut call = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{AUTHORITY}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in more {
        call = call.header(*name, *value);
    }
    exchange(&client, call.body(()).unwrap(), body, None).await
}

async fn call(gateway: &Gateway, path: &str) -> Answer {
    call_with(gateway, path, &[], b"\0\0\0\0\0").await
}

fn closed() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Takes calls and never answers.
async fn silent() -> SocketAddr {
    backend(|request, respond, _| async move {
        let _open = (request, respond);
        std::future::pending().await
    })
    .await
}

#[tokio::test]
async fn a_backend_of_a_grpc_rule_is_spoken_http_2_to_though_it_does_not_say_so() {
    let address = echo_backend().await;
    let setup = Setup::new().backend("b", &[address], ir::Protocol::Http);
    let gateway = setup.route(grpc).start().await;
    let path = "/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/Echo";
    let answer = call_with(&gateway, path, &[], b"\0\0\0\0\x02hi").await;
    assert_eq!((answer.head.status.as_u16(), answer.body.as_slice()), (200, &b"\0\0\0\0\x02hi"[..]));
    let headers = &answer.head.headers;
    assert_eq!((&headers["x-path"], &headers["x-authority"]), (&path.parse().unwrap(), &AUTHORITY.parse().unwrap()));
    assert_eq!(headers["x-te"], "trailers");
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    gateway.counts("portcullis_dataplane_grpc_calls_total{grpc_status=\"OK\"}", 1).await;
}

#[tokio::test]
async fn one_backend_is_spoken_to_as_each_rule_needs() {
    // Tells by the first line what is spoken; to HTTP/2 it says nothing that would be.
    let backend = Backend::answering(|_| ok("one")).await;
    let gateway = Setup::new()
        .backend("b", &[backend.address], ir::Protocol::Http)
        .route(|route| {
            grpc(route);
            route.matches = vec![prefix("/grpc")];
            route.timeouts.request = Some(Duration::from_millis(200));
        })
        .route(|route| route.matches = vec![prefix("/web")])
        .start()
        .await;
    for _ in 0..2 {
        assert_eq!(gateway.get("/web").await.text(), "one");
        assert_ne!(call(&gateway, "/grpc").await.head.headers["grpc-status"], "0");
    }
    let lines: Vec<_> = backend.seen().iter().map(|seen| seen.request_line.clone()).collect();
    assert_eq!(lines.iter().filter(|line| *line == "GET /web HTTP/1.1").count(), 2, "{lines:?}");
    assert!(lines.iter().any(|line| line == "PRI * HTTP/2.0"), "{lines:?}");
}

#[tokio::test]
async fn statuses_of_ours_are_those_that_grpc_defines() {
    let silent = silent().await;
    let invalid = ir::WeightedBackend { target: ir::Target::Invalid(ir::Failure::InvalidBackend), ..to("b") };
    let rule = |path: &'static str, action: ir::Action| {
        move |route: &mut ir::Route| {
            grpc(route);
            route.matches = vec![prefix(path)];
            route.action = action;
        }
    };
    let gateway = Setup::new()
        .backend("empty", &[], ir::Protocol::Http)
        .backend("closed", &[closed()], ir::Protocol::Http)
        .backend("silent", &[silent], ir::Protocol::Http)
        .route(rule("/invalid", ir::Action::Forward(vec![invalid])))
        .route(rule("/none", ir::Action::Forward(vec![])))
        .route(rule("/empty", ir::Action::Forward(vec![to("empty")])))
        .route(rule("/closed", ir::Action::Forward(vec![to("closed")])))
        .route(|route| {
            rule("/silent", ir::Action::Forward(vec![to("silent")]))(route);
            route.timeouts.request = Some(Duration::from_millis(200));
        })
        .settings(|settings| settings.limits.max_body_bytes = Some(100))
        .start()
        .await;
    for (path, status) in
        [("/unknown", "12"), ("/invalid", "14"), ("/none", "14"), ("/empty", "14"), ("/closed", "14"), ("/silent", "4")]
    {
        let answer = call(&gateway, path).await;
        assert_eq!((answer.head.status.as_u16(), answer.body.len()), (200, 0), "{path}");
        assert_eq!(answer.head.headers["content-type"], "application/grpc", "{path}");
        assert_eq!(answer.head.headers["grpc-status"], status, "{path}");
        assert!(answer.trailers.is_none(), "{path}");
    }
    let answer = call_with(&gateway, "/silent", &[("content-length", "200")], &[0; 200]).await;
    assert_eq!(answer.head.headers["grpc-status"], "8");
    gateway.counts("portcullis_dataplane_grpc_calls_total{grpc_status=\"UNAVAILABLE\"}", 4).await;
    gateway.counts("portcullis_dataplane_grpc_calls_total{grpc_status=\"UNIMPLEMENTED\"}", 1).await;
    // Whoever does not speak it gets HTTP.
    assert_eq!(gateway.get("/empty").await.status, 503);
}

#[tokio::test]
async fn a_status_of_the_backend_is_passed_on_and_counted_in_a_head_too() {
    let unavailable = backend(|_, mut respond, _| async move {
        let head = Response::builder().header("content-type", "application/grpc").header("grpc-status", "5");
        respond.send_response(head.header("grpc-message", "no%20such").body(()).unwrap(), true).unwrap();
    })
    .await;
    let setup = Setup::new().backend("b", &[unavailable], ir::Protocol::Http);
    let gateway = setup.route(grpc).start().await;
    let answer = call(&gateway, "/").await;
    assert_eq!(answer.head.headers["grpc-status"], "5");
    assert_eq!(answer.head.headers["grpc-message"], "no%20such");
    gateway.counts("portcullis_dataplane_grpc_calls_total{grpc_status=\"NOT_FOUND\"}", 1).await;
}

#[tokio::test]
async fn a_call_that_the_client_gave_up_is_given_up() {
    let silent = silent().await;
    let setup = Setup::new().backend("b", &[silent], ir::Protocol::Http);
    let gateway = setup.route(grpc).start().await;
    for timeout in ["100m", "0S"] {
        let answer = call_with(&gateway, "/", &[("grpc-timeout", timeout)], b"").await;
        assert_eq!(answer.head.headers["grpc-status"], "4", "{timeout}");
    }
    // The longest that can be said, and what is no timeout at all, end nothing.
    for timeout in ["99999999H", "soon"] {
        let header = [("grpc-timeout", timeout)];
        let call = call_with(&gateway, "/", &header, b"");
        assert!(tokio::time::timeout(Duration::from_millis(200), call).await.is_err(), "{timeout}");
    }
}

#[tokio::test]
async fn messages_pass_both_ways_while_the_call_is_open() {
    // Answers each message as it comes: a call that waits for the end of one side would stand still.
    let echo = backend(|request, mut respond, _| async move {
        let mut stream = request.into_body();
        let head = Response::builder().header("content-type", "application/grpc");
        let mut sending = respond.send_response(head.body(()).unwrap(), false).unwrap();
        while let Some(Ok(piece)) = stream.data().await {
            let _ = stream.flow_control().release_capacity(piece.len());
            sending.send_data(piece, false).unwrap();
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        sending.send_trailers(trailers).unwrap();
    })
    .await;
    let setup = Setup::new().backend("b", &[echo], ir::Protocol::Http);
    let gateway = setup.route(grpc).start().await;
    let client = connect(gateway.address()).await;
    let call = Request::builder().method(Method::POST).uri(format!("http://{AUTHORITY}/a/b"));
    let call = call.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap();
    let (response, mut sending) = client.ready().await.unwrap().send_request(call, false).unwrap();
    let mut stream = soon("the head", response).await.unwrap().into_body();
    for number in 0..5_u8 {
        let message = Bytes::from(vec![0, 0, 0, 0, 1, number]);
        sending.send_data(message.clone(), false).unwrap();
        assert_eq!(soon("the message", stream.data()).await.unwrap().unwrap(), message);
    }
    sending.send_data(Bytes::new(), true).unwrap();
    assert!(soon("the end", stream.data()).await.is_none());
    assert_eq!(soon("the trailers", stream.trailers()).await.unwrap().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_mirror_of_a_grpc_rule_is_spoken_http_2_to_as_well() {
    let (told, mut copies) = tokio::sync::mpsc::channel(4);
    let mirror = backend(move |mut request, mut respond, _| {
        let told = told.clone();
        async move {
            let body = body_of(request.body_mut()).await;
            respond.send_response(Response::new(()), true).unwrap();
            told.send((request.uri().path().to_owned(), body)).await.unwrap();
        }
    })
    .await;
    let gateway = Setup::new()
        .backend("b", &[echo_backend().await], ir::Protocol::Http)
        .backend("mirror", &[mirror], ir::Protocol::Http)
        .route(|route| {
            grpc(route);
            let target = to("mirror").target;
            route.filters = vec![ir::Filter::Mirror(ir::Mirror { target, share: ir::Fraction::ALL })];
        })
        .start()
        .await;
    assert_eq!(call(&gateway, "/a/b").await.head.status, 200);
    let copy = soon("the copy", copies.recv()).await.unwrap();
    assert_eq!(copy, ("/a/b".to_owned(), b"\0\0\0\0\0".to_vec()));
}
