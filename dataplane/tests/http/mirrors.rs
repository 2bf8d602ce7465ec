//! Copies of requests: sent beside the request, never in its way.

use portcullis_ir as ir;

use super::support::gateway::backend_key;
use super::support::{Backend, Setup, ok};

fn mirror(name: &str, numerator: u32, denominator: u32) -> ir::Filter {
    let target = ir::Target::Backend(backend_key(name));
    ir::Filter::Mirror(ir::Mirror { target, share: ir::Fraction { numerator, denominator } })
}

async fn mirrored(main: &Backend, mirrors: &[(&str, &Backend, u32, u32)]) -> super::support::Gateway {
    let mut setup = Setup::new().backend("b", &[main.address], ir::Protocol::Http);
    for (name, backend, ..) in mirrors {
        setup = setup.backend(name, &[backend.address], ir::Protocol::Http);
    }
    let filters =
        mirrors.iter().map(|&(name, _, numerator, denominator)| mirror(name, numerator, denominator)).collect();
    setup.route(|route| route.filters = filters).start().await
}

#[tokio::test]
async fn a_mirror_gets_what_the_backend_gets_and_its_answer_goes_nowhere() {
    let main = Backend::answering(|_| ok("main")).await;
    let copies =
        [Backend::answering(|_| ok("copy")).await, Backend::answering(|_| b"HTTP/1.1 500 No\r\n\r\n".to_vec()).await];
    let gateway = mirrored(&main, &[("m1", &copies[0], 1, 1), ("m2", &copies[1], 1, 1)]).await;
    let mut client = gateway.connect().await;
    client.send("POST /a?b HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\nx-mine: 1\r\n\r\n").await;
    client.send("5\r\nhello\r\n0\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "main");
    client.send("GET /plain HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "main");
    for copy in &copies {
        copy.wait_for(2).await;
        let mut seen = copy.seen();
        seen.sort_by_key(|seen| seen.request_line.clone());
        assert!(seen.iter().all(|seen| seen.violations.is_empty()), "{seen:#?}");
        assert_eq!(seen[0].request_line, "GET /plain HTTP/1.1");
        assert_eq!((seen[1].target(), seen[1].body.as_slice()), ("/a?b", &b"hello"[..]));
        assert_eq!((seen[1].header("host"), seen[1].header("x-mine")), (Some("a.test"), Some("1")));
    }
}

#[tokio::test]
async fn a_share_is_exact() {
    let main = Backend::answering(|_| ok("main")).await;
    let copy = Backend::answering(|_| ok("copy")).await;
    let gateway = mirrored(&main, &[("m", &copy, 1, 4)]).await;
    let mut client = gateway.connect().await;
    for _ in 0..40 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.response().await;
    }
    copy.wait_for(10).await;
    assert_eq!((main.seen().len(), copy.seen().len()), (40, 10));
}

#[tokio::test]
async fn a_mirror_that_is_dead_or_stuck_does_not_slow_the_request() {
    let main = Backend::answering(|seen| ok(&seen.body.len().to_string())).await;
    let stuck = Backend::with_connections(|_, mut reader, number| async move {
        // Reads the head, and nothing more until the other side gives up.
        let _ = reader.head(number).await;
        std::future::pending::<()>().await;
    })
    .await;
    let closed = Backend::answering(|_| ok("")).await;
    let mut dead = closed.clone();
    dead.address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = mirrored(&main, &[("stuck", &stuck, 1, 1), ("dead", &dead, 1, 1)]).await;
    let mut client = gateway.connect().await;
    let body = vec![b'x'; 20 * 1024 * 1024];
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len())).await;
    client.send(&body).await;
    assert_eq!(client.response().await.text(), body.len().to_string());
}
