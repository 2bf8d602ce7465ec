//! Folders change in many ways; each is seen, and none is served by halves.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use portcullis_cli::standalone::{Pass, Reader, Reading};
use portcullis_cli::watch::Watcher;

/// Long enough for the slowest machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: {value}}}\n")
}

async fn first(reader: &mut Reader) -> Pass {
    match reader.read().await {
        Reading::Pass(pass) => *pass,
        other => panic!("{other:?}"),
    }
}

/// Waits for news; `Unchanged` is none.
async fn next(reader: &mut Reader) -> Reading {
    let waiting = async {
        loop {
            reader.changed().await;
            match reader.read().await {
                Reading::Unchanged => {}
                news => return news,
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

async fn next_pass(reader: &mut Reader) -> Pass {
    match next(reader).await {
        Reading::Pass(pass) => *pass,
        other => panic!("{other:?}"),
    }
}

fn names(list: &[portcullis_translate::ObjectRef]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_rename_over_a_file_is_an_edit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, map("a", "one")).unwrap();
    let mut reader = Reader::new(folder.path());
    assert_eq!(names(&first(&mut reader).await.changes.added), ["ConfigMap default/a"]);
    fs::write(folder.path().join("a.yaml.tmp"), map("a", "two")).unwrap();
    fs::rename(folder.path().join("a.yaml.tmp"), &path).unwrap();
    let pass = next_pass(&mut reader).await;
    assert_eq!(names(&pass.changes.changed), ["ConfigMap default/a"]);
    assert!(pass.changes.removed.is_empty());
}

#[tokio::test]
async fn an_editor_that_moves_the_file_away_first_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, map("a", "one")).unwrap();
    let mut reader = Reader::new(folder.path());
    first(&mut reader).await;
    fs::rename(&path, folder.path().join("a.yaml~")).unwrap();
    fs::write(&path, map("a", "two")).unwrap();
    let pass = next_pass(&mut reader).await;
    assert_eq!((names(&pass.changes.changed), pass.changes.removed.len()), (vec!["ConfigMap default/a".to_owned()], 0));
}

#[tokio::test]
async fn a_mounted_config_map_is_swapped_whole() {
    let folder = tempfile::tempdir().unwrap();
    let version = |name: &str, value: &str| {
        let version = folder.path().join(name);
        fs::create_dir(&version).unwrap();
        fs::write(version.join("a.yaml"), map("a", value)).unwrap();
        fs::write(version.join("b.yaml"), map("b", value)).unwrap();
    };
    version("..2026_01", "one");
    symlink("..2026_01", folder.path().join("..data")).unwrap();
    for file in ["a.yaml", "b.yaml"] {
        symlink(Path::new("..data").join(file), folder.path().join(file)).unwrap();
    }
    let mut reader = Reader::new(folder.path());
    assert_eq!(first(&mut reader).await.changes.added.len(), 2);
    // As the kubelet does it.
    version("..2026_02", "two");
    symlink("..2026_02", folder.path().join("..data_tmp")).unwrap();
    fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
    fs::remove_dir_all(folder.path().join("..2026_01")).unwrap();
    let pass = next_pass(&mut reader).await;
    assert_eq!(names(&pass.changes.changed), ["ConfigMap default/a", "ConfigMap default/b"]);
    assert!(pass.problems.is_empty(), "{:?}", pass.problems);
}

#[tokio::test]
async fn new_folders_are_read_and_watched() {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = Reader::new(folder.path());
    first(&mut reader).await;
    let deep = folder.path().join("x/y");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("a.yaml"), map("a", "one")).unwrap();
    assert_eq!(names(&next_pass(&mut reader).await.changes.added), ["ConfigMap default/a"]);
    fs::write(deep.join("a.yaml"), map("a", "two")).unwrap();
    assert_eq!(names(&next_pass(&mut reader).await.changes.changed), ["ConfigMap default/a"]);
    fs::remove_file(deep.join("a.yaml")).unwrap();
    assert_eq!(names(&next_pass(&mut reader).await.changes.removed), ["ConfigMap default/a"]);
}

#[tokio::test]
async fn a_folder_that_vanishes_costs_nothing_and_is_read_again_when_it_is_back() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("config");
    fs::create_dir(&folder).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(folder.join(format!("{name}.yaml")), map(name, "one")).unwrap();
    }
    let mut reader = Reader::new(&folder);
    first(&mut reader).await;
    // Takes the files before it takes the folder; no pass may serve what is left in between.
    fs::remove_dir_all(&folder).unwrap();
    let news = next(&mut reader).await;
    assert!(matches!(news, Reading::Gone(_)), "{news:?}");
    let beside = parent.path().join("beside");
    fs::create_dir(&beside).unwrap();
    for name in ["a", "b", "d"] {
        fs::write(beside.join(format!("{name}.yaml")), map(name, "one")).unwrap();
    }
    fs::rename(&beside, &folder).unwrap();
    let pass = next_pass(&mut reader).await;
    assert_eq!(names(&pass.changes.added), ["ConfigMap default/d"]);
    assert_eq!((names(&pass.changes.removed), pass.changes.changed.len()), (vec!["ConfigMap default/c".to_owned()], 0));
    fs::write(folder.join("a.yaml"), map("a", "two")).unwrap();
    assert_eq!(names(&next_pass(&mut reader).await.changes.changed), ["ConfigMap default/a"]);
}

#[tokio::test]
async fn a_folder_that_is_replaced_by_another_is_followed() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("config");
    let other = parent.path().join("other");
    for (path, value) in [(&folder, "one"), (&other, "two")] {
        fs::create_dir(path).unwrap();
        fs::write(path.join("a.yaml"), map("a", value)).unwrap();
    }
    let mut reader = Reader::new(&folder);
    first(&mut reader).await;
    fs::rename(&folder, parent.path().join("old")).unwrap();
    fs::rename(&other, &folder).unwrap();
    assert_eq!(names(&next_pass(&mut reader).await.changes.changed), ["ConfigMap default/a"]);
    fs::write(folder.join("a.yaml"), map("a", "three")).unwrap();
    assert_eq!(names(&next_pass(&mut reader).await.changes.changed), ["ConfigMap default/a"]);
}

#[tokio::test]
async fn a_file_that_is_being_written_counts_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, map("a", "one")).unwrap();
    let mut watcher = Watcher::new(folder.path());
    watcher.follow(&[folder.path().to_owned()].into());
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"apiVersion: v1\n").unwrap();
    let began = Instant::now();
    while !watcher.is_open(&path) {
        assert!(began.elapsed() < PATIENCE);
        watcher.is_disturbed();
        tokio::task::yield_now().await;
    }
    assert!(!watcher.is_due());
    drop(file);
    tokio::time::timeout(PATIENCE, watcher.changed()).await.unwrap();
    assert!(!watcher.is_open(&path));
}
