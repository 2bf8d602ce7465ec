//! What a recompiled backend takes over.

use std::sync::Arc;

use portcullis_ir as ir;
use portcullis_ir::Protocol;

use super::support::authority::Authority;
use super::support::{World, key, over_tls, plain};
use crate::upstream::BackendProgram;

fn compile(world: &World, endpoints: &[(&str, bool)], previous: Option<&Arc<BackendProgram>>) -> Arc<BackendProgram> {
    let endpoints =
        endpoints.iter().map(|(address, ready)| ir::Endpoint { address: address.parse().unwrap(), ready: *ready });
    let endpoints = Arc::new(ir::Endpoints { key: key(), endpoints: endpoints.collect() });
    BackendProgram::compile(&Arc::new(plain(Protocol::Http)), Some(&endpoints), &|_| None, previous, &world.upkeep)
}

fn addresses(program: &BackendProgram) -> Vec<String> {
    program.endpoints().iter().map(|endpoint| endpoint.address().to_string()).collect()
}

#[tokio::test]
async fn requests_in_flight_and_failures_survive_a_swap() {
    let world = World::new();
    let before = compile(&world, &[("10.0.0.1:80", true), ("10.0.0.2:80", true)], None);
    let busy = world.upstreams.pick(&before, None).unwrap();
    busy.connect_failed();
    let after = compile(&world, &[("10.0.0.1:80", true), ("10.0.0.2:80", true), ("10.0.0.3:80", true)], Some(&before));
    let endpoints = after.endpoints();
    let kept = endpoints.iter().find(|endpoint| endpoint.address() == busy.address()).unwrap();
    assert_eq!((kept.active(), kept.failures()), (1, 1));
    drop(busy);
    assert_eq!(kept.active(), 0);
}

#[tokio::test]
async fn terminating_endpoints_serve_only_when_none_is_ready() {
    let world = World::new();
    let some = compile(&world, &[("10.0.0.1:80", false), ("10.0.0.2:80", true)], None);
    assert_eq!(addresses(&some), ["10.0.0.2:80"]);
    let none = compile(&world, &[("10.0.0.1:80", false), ("10.0.0.2:80", false)], Some(&some));
    assert_eq!(addresses(&none), ["10.0.0.1:80", "10.0.0.2:80"]);
}

#[tokio::test]
async fn a_backend_without_endpoints_gives_none() {
    let world = World::new();
    let program = compile(&world, &[], None);
    assert!(world.upstreams.pick(&program, None).is_none() && program.endpoints().is_empty());
}

#[tokio::test]
async fn both_address_families_are_endpoints() {
    let world = World::new();
    assert_eq!(
        addresses(&compile(&world, &[("[::1]:80", true), ("10.0.0.1:80", true)], None)),
        ["10.0.0.1:80", "[::1]:80"]
    );
}

#[tokio::test]
async fn a_retry_goes_elsewhere_if_there_is_elsewhere() {
    let world = World::new();
    let two = compile(&world, &[("10.0.0.1:80", true), ("10.0.0.2:80", true)], None);
    let first = world.upstreams.pick(&two, None).unwrap();
    for _ in 0..50 {
        assert_ne!(world.upstreams.pick(&two, Some(&first)).unwrap().address(), first.address());
    }
    let one = compile(&world, &[("10.0.0.1:80", true)], None);
    let only = world.upstreams.pick(&one, None).unwrap();
    assert_eq!(world.upstreams.pick(&one, Some(&only)).unwrap().address(), only.address());
}

#[tokio::test]
async fn the_busier_of_two_is_passed_over() {
    let world = World::new();
    let two = compile(&world, &[("10.0.0.1:80", true), ("10.0.0.2:80", true)], None);
    let held: Vec<_> = (0..100).map(|_| world.upstreams.pick(&two, None).unwrap()).collect();
    let active: Vec<u32> = two.endpoints().iter().map(|endpoint| endpoint.active()).collect();
    assert_eq!(active, [50, 50]);
    drop(held);
}

#[tokio::test]
async fn an_unrelated_edit_keeps_the_tls_configuration_and_a_policy_edit_does_not() {
    let (world, authority) = (World::new(), Authority::new());
    let tls = authority.policy("app.test", &[]);
    let before = world.program(over_tls(Protocol::Http, tls.clone()), &[]);
    let mut slower = over_tls(Protocol::Http, tls.clone());
    slower.connect_timeout *= 2;
    assert_eq!(world.recompile(slower, &[], Some(&before)).identity, before.identity);
    let mut others = [tls.clone(), tls.clone(), tls];
    others[0].hostname = ir::Host::parse("b.test").unwrap();
    others[1].subject_alt_names = vec!["c.test".into()];
    others[2].roots = Authority::new().policy("app.test", &[]).roots;
    for other in others {
        assert_ne!(world.recompile(over_tls(Protocol::Http, other), &[], Some(&before)).identity, before.identity);
    }
}

#[tokio::test]
async fn a_session_finds_its_endpoint_only_while_that_can_take_requests() {
    let world = World::new();
    let program = compile(&world, &[("10.0.0.2:80", true), ("10.0.0.1:80", true), ("10.0.0.3:80", false)], None);
    for (address, found) in [
        ("10.0.0.1:80", true),
        ("10.0.0.2:80", true),
        // Terminating, while others are ready.
        ("10.0.0.3:80", false),
        ("10.0.0.1:81", false),
        ("169.254.169.254:80", false),
    ] {
        let endpoint = program.stick(address.parse().unwrap());
        assert_eq!(endpoint.map(|it| it.address().to_string()), found.then(|| address.to_owned()));
    }
    let held = program.stick("10.0.0.1:80".parse().unwrap()).unwrap();
    assert_eq!(held.active(), 1);
    held.connect_failed();
    assert!(program.stick("10.0.0.1:80".parse().unwrap()).is_none(), "in back-off");
}
