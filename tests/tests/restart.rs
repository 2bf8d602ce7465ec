//! Killed, and started again with its configuration gone: the last good program serves.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use portcullis_tests::backend::EchoBackend;
use portcullis_tests::client;
use portcullis_tests::process::{PATIENCE, Standalone, free_port};
use portcullis_tests::yaml;

const ROUTES: usize = 5_000;

#[test]
fn a_restart_without_configuration_serves_the_last_good_program() {
    let backend = EchoBackend::start("one").unwrap();
    let config = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let port = free_port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let text = yaml::gateway(port) + &yaml::backend("one", backend.address) + &yaml::many_routes(ROUTES, "one");
    std::fs::write(config.path().join("all.yaml"), text).unwrap();
    let gateway = Standalone::start_ready(config.path(), state.path(), &[]).unwrap();
    assert_eq!(client::get(address, "example.com", "/route-4999/x").unwrap().status, 200);
    assert_eq!(gateway.metric("portcullis_dataplane_config_stale").unwrap(), Some(0.0));
    wait_for_saved_program(&gateway);

    gateway.kill().unwrap();
    std::fs::remove_dir_all(config.path()).unwrap();
    let began = Instant::now();
    let mut gateway = Standalone::start(config.path(), state.path(), &[]).unwrap();
    let first = loop {
        match client::get(address, "example.com", "/route-4999/x") {
            Ok(answer) => break answer,
            Err(_) => assert!(began.elapsed() < PATIENCE, "never served:\n{}", gateway.log_text()),
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    // Reported, never asserted: absolute times mean nothing on a shared machine.
    println!("served {ROUTES} routes {} ms after exec", began.elapsed().as_millis());
    assert_eq!(first.status, 200, "no known route is ever 404 or 503 after a restart");

    gateway.wait_ready().unwrap();
    let ready = gateway.admin_page("/readyz").unwrap();
    assert!(ready.contains("stale"), "readyz says that the program is an old one: {ready}");
    assert_eq!(gateway.metric("portcullis_dataplane_config_stale").unwrap(), Some(1.0));
}

#[test]
fn a_corrupted_program_is_refused_and_the_previous_one_serves() {
    let backend = EchoBackend::start("one").unwrap();
    let config = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let port = free_port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let fixed = yaml::gateway(port) + &yaml::backend("one", backend.address);
    std::fs::write(config.path().join("gateway.yaml"), fixed).unwrap();
    let file = config.path().join("route.yaml");
    yaml::write_atomically(&file, &yaml::route("app", "/", "one", "first")).unwrap();
    let gateway = Standalone::start_ready(config.path(), state.path(), &[]).unwrap();
    wait_for_saved_program(&gateway);
    yaml::write_atomically(&file, &yaml::route("app", "/", "one", "second")).unwrap();
    let began = Instant::now();
    while client::get(address, "example.com", "/").unwrap().header("x-mark") != Some("second") {
        assert!(began.elapsed() < PATIENCE);
    }
    wait_for_saved_program(&gateway);
    gateway.kill().unwrap();
    std::fs::remove_dir_all(config.path()).unwrap();

    let newest = saved_programs(state.path()).into_iter().max_by_key(|(_, modified)| *modified).unwrap().0;
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&newest, bytes).unwrap();

    let gateway = Standalone::start_ready(config.path(), state.path(), &[]).unwrap();
    let answer = client::get(address, "example.com", "/").unwrap();
    assert_eq!((answer.status, answer.header("x-mark")), (200, Some("first")), "{}", gateway.log_text());
}

/// Waits until the metric says that the running version is on disk.
fn wait_for_saved_program(gateway: &Standalone) {
    let began = Instant::now();
    loop {
        let running = gateway.metric("portcullis_dataplane_config_version").unwrap();
        let saved = gateway.metric("portcullis_dataplane_config_saved_version").unwrap();
        if running.is_some() && running == saved {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "running {running:?}, saved {saved:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn saved_programs(state: &std::path::Path) -> Vec<(std::path::PathBuf, std::time::SystemTime)> {
    std::fs::read_dir(state)
        .unwrap()
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_none_or(|extension| extension != "log"))
        .map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap()))
        .collect()
}
