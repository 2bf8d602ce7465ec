use std::fs;
use std::path::Path;
use std::time::Instant;

use portcullis_dataplane::{Settings, StartError, read_snapshot_file};
use portcullis_ir::Resource;

use super::plane::{Plane, free_port, get, loopback, settings};
use super::resources::{http, redirect};

fn stored(folder: &Path) -> Settings {
    Settings { state_dir: Some(folder.to_owned()), ..settings() }
}

fn parts(port: u16, to: &str) -> [Resource; 2] {
    [http("web", port), redirect("r", &["web"], to)]
}

#[tokio::test]
async fn a_restart_without_a_controller_serves_what_was_served_before_and_says_so() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut plane = Plane::start(stored(folder.path())).await;
    assert_eq!(plane.hello.held, None);
    plane.put(parts(port, "old.example")).await;
    plane.stop().await;

    let mut plane = Plane::start(stored(folder.path())).await;
    assert_eq!(plane.hello.held.unwrap().version.number, 1, "the server may send a delta");
    assert_eq!(get(loopback(port), "/").await.location(), Some("http://old.example/"));
    let ready = plane.admin("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.body.contains("stale: this is the last good configuration from disk"), "{}", ready.body);
    assert!(plane.admin("/metrics").await.body.contains("portcullis_dataplane_config_stale 1\n"));

    plane.put(parts(port, "new.example")).await;
    assert_eq!(get(loopback(port), "/").await.location(), Some("http://new.example/"));
    assert!(!plane.admin("/readyz").await.body.contains("stale"));
    assert!(plane.admin("/metrics").await.body.contains("portcullis_dataplane_config_stale 0\n"));
    plane.stop().await;
}

#[tokio::test]
async fn a_corrupted_snapshot_gives_way_to_the_one_before_and_two_to_none() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    for to in ["first.example", "second.example"] {
        let mut plane = Plane::start(stored(folder.path())).await;
        plane.put(parts(port, to)).await;
        plane.stop().await;
    }
    let newest = folder.path().join("snapshot");
    let mut bytes = fs::read(&newest).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&newest, &bytes).unwrap();
    let plane = Plane::start(stored(folder.path())).await;
    assert_eq!(get(loopback(port), "/").await.location(), Some("http://first.example/"));
    plane.stop().await;

    for name in ["snapshot", "snapshot.previous"] {
        fs::write(folder.path().join(name), &bytes[..last / 2]).unwrap();
    }
    let mut plane = Plane::start(stored(folder.path())).await;
    assert_eq!(plane.hello.held, None);
    assert_eq!(plane.admin("/readyz").await.status, 503);
    assert!(plane.admin("/metrics").await.body.contains("portcullis_dataplane_disk_snapshot_failures_total 2\n"));
    plane.put(parts(port, "third.example")).await;
    plane.stop().await;
    assert!(read_snapshot_file(&newest).is_ok(), "it is replaced by the next good one");
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let (_server, incoming) = tokio::sync::mpsc::channel(1);
    let (outgoing, _answers) = tokio::sync::mpsc::channel(1);
    let link = portcullis_dataplane::ConfigLink { incoming, outgoing };
    let error = portcullis_dataplane::DataPlane::start(stored(&file), link).unwrap_err();
    assert!(matches!(&error, StartError::StateDirectory { path, .. } if path.ends_with("file")), "{error}");
}

/// Prints what a restart with 5,000 routes takes; asserts only that it works.
#[tokio::test]
async fn five_thousand_routes_come_back_from_disk() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut plane = Plane::start(stored(folder.path())).await;
    let routes = (0..5000).map(|number| redirect(&format!("r{number}"), &["web"], "to.example"));
    plane.put(std::iter::once(http("web", port)).chain(routes)).await;
    plane.stop().await;
    let begun = Instant::now();
    let plane = Plane::start(stored(folder.path())).await;
    assert_eq!(get(loopback(port), "/").await.status, 302);
    println!("served {:?} after the start", begun.elapsed());
    plane.stop().await;
}
