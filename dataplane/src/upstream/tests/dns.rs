//! Backends given by names.

use std::sync::Arc;

use portcullis_ir as ir;
use portcullis_ir::Protocol;
use tokio::runtime::Handle;

use super::support::name_server::NameServer;
use super::support::plain;
use crate::upstream::dns::Dns;
use crate::upstream::{BackendProgram, Upkeep};

fn named(names: &[(&str, u16)]) -> Arc<ir::Backend> {
    let names = names.iter().map(|(host, port)| (ir::Host::parse(host).unwrap(), *port)).collect();
    Arc::new(ir::Backend { source: ir::Source::Names(names), ..plain(Protocol::Http) })
}

fn compile(backend: &Arc<ir::Backend>, previous: Option<&Arc<BackendProgram>>, upkeep: &Upkeep) -> Arc<BackendProgram> {
    BackendProgram::compile(backend, None, &|_| None, previous, upkeep)
}

fn addresses(program: &BackendProgram) -> Vec<String> {
    program.endpoints().iter().map(|endpoint| endpoint.address().to_string()).collect()
}

/// Waits until the program's addresses are these; the test hangs (and is killed) if they never are.
async fn becomes(program: &BackendProgram, expected: &[&str]) {
    while addresses(program) != expected {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn literal_addresses_need_no_name_server() {
    let upkeep = Upkeep::new(Handle::current());
    let program = compile(&named(&[("127.0.0.1", 80), ("[::1]", 81)]), None, &upkeep);
    program.resolved_once().await;
    assert_eq!(addresses(&program), ["127.0.0.1:80", "[::1]:81"]);
}

#[tokio::test]
async fn a_name_becomes_all_its_addresses_of_both_families_and_follows_its_ttl() {
    let server = NameServer::start(&["10.0.0.1", "10.0.0.2", "fd00::1"]).await;
    let upkeep = Upkeep::with_dns(Dns::with(Handle::current(), Some(server.config())));
    let program = compile(&named(&[("cart.test.", 8080), ("10.9.9.9", 90)]), None, &upkeep);
    becomes(&program, &["10.0.0.1:8080", "10.0.0.2:8080", "10.9.9.9:90", "[fd00::1]:8080"]).await;
    program.resolved_once().await;
    let kept = Arc::clone(program.endpoints().iter().next().unwrap());
    // A second later the answer has expired.
    server.says(&["10.0.0.1", "10.0.0.3"]);
    becomes(&program, &["10.0.0.1:8080", "10.0.0.3:8080", "10.9.9.9:90"]).await;
    assert!(Arc::ptr_eq(&kept, program.endpoints().iter().next().unwrap()));
}

#[tokio::test]
async fn what_was_last_good_stays_while_a_name_does_not_resolve() {
    let server = NameServer::start(&["10.0.0.1"]).await;
    let upkeep = Upkeep::with_dns(Dns::with(Handle::current(), Some(server.config())));
    let program = compile(&named(&[("cart.test", 80)]), None, &upkeep);
    becomes(&program, &["10.0.0.1:80"]).await;
    server.fails(true);
    let asked = server.questions();
    while server.questions() < asked + 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(addresses(&program), ["10.0.0.1:80"]);
    server.fails(false);
    server.says(&["10.0.0.2"]);
    becomes(&program, &["10.0.0.2:80"]).await;
}

#[tokio::test]
async fn a_name_that_never_resolved_has_been_waited_for_once_it_failed() {
    let server = NameServer::start(&[]).await;
    let upkeep = Upkeep::with_dns(Dns::with(Handle::current(), Some(server.config())));
    let program = compile(&named(&[("nowhere.test", 80)]), None, &upkeep);
    program.resolved_once().await;
    assert!(addresses(&program).is_empty());
}

#[tokio::test]
async fn backends_share_a_name_and_a_recompiled_one_keeps_its_answer() {
    let server = NameServer::start(&["10.0.0.1"]).await;
    let upkeep = Upkeep::with_dns(Dns::with(Handle::current(), Some(server.config())));
    let first = compile(&named(&[("cart.test", 80)]), None, &upkeep);
    becomes(&first, &["10.0.0.1:80"]).await;
    server.fails(true);
    // The same name at another port needs no question of its own; the same backend compiled again neither.
    let second = compile(&named(&[("cart.test", 81)]), None, &upkeep);
    assert_eq!(addresses(&second), ["10.0.0.1:81"]);
    let again = compile(&named(&[("cart.test", 80)]), Some(&first), &upkeep);
    assert_eq!(addresses(&again), ["10.0.0.1:80"]);
}

#[tokio::test]
async fn a_name_that_no_backend_follows_is_no_longer_asked_for() {
    let server = NameServer::start(&["10.0.0.1"]).await;
    let upkeep = Upkeep::with_dns(Dns::with(Handle::current(), Some(server.config())));
    let program = compile(&named(&[("cart.test", 80)]), None, &upkeep);
    becomes(&program, &["10.0.0.1:80"]).await;
    assert_eq!(upkeep.dns().followed(), 1);
    drop(program);
    assert_eq!(upkeep.dns().followed(), 0);
}
