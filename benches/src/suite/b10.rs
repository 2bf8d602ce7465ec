//! B10, TLS and connections: full handshakes, keep-alive over TLS, HTTP/2 streams, and what an idle connection holds.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

use super::paired::{self, LoadKind, Subject};
use super::upstream::Upstreams;
use super::{Effort, Findings, servers};
use crate::child::free_address;
use crate::line::{Bound, Line};
use crate::load::Ask;
use crate::load::handshake::Outcome;
use crate::load::idle::{self, Manner};
use crate::load::wrk::Window;
use crate::peers::{LOAD_CORE, Peer, Programs, Server, Setup, TlsMaterial};
use crate::usage::resident_kib;

const PEERS: [Peer; 4] = [Peer::Ours, Peer::Nginx, Peer::Haproxy, Peer::EnvoyList];
const CONNECTIONS: usize = 64;
const ENCRYPTION: &str = "encryption takes about as much of every server, and without it the ratio is B1's (docs/performance.md, \
    \"One run of all\")";
/// Clients that make handshakes at once.
const CLIENTS: usize = 8;
const IDLE: usize = 3_000;

pub(super) async fn run(programs: &Programs, effort: Effort, findings: &mut Findings) -> anyhow::Result<()> {
    let upstreams = Upstreams::start(&["up"]).await?;
    let folder = tempfile::tempdir()?;
    let material = TlsMaterial::generate(folder.path())?;
    let root = folder.path().join("root.der");
    fs::write(&root, material.root_der())?;
    let setup = || Ok(Setup { tls: Some(material.files.clone()), ..Setup::plain(free_address()?, upstreams.first()) });
    let up = servers::start(programs, &PEERS, "B10", "TLS", setup, findings).await?;
    for (case, load) in [
        ("full handshake and a request", LoadKind::Handshakes),
        ("TLS keep-alive, 64 connections", LoadKind::Connections(CONNECTIONS)),
        ("HTTP/2, 8 connections with 8 streams", LoadKind::Streams),
    ] {
        super::say(case);
        let ask = |server: &Server| Ask { tls: true, ..Ask::plain(server.setup.listen) };
        let subjects: Vec<Subject> = up.iter().map(|server| servers::subject(server, ask(server), load)).collect();
        let make = async |subject: &Subject, time: Duration| handshakes(subject, &root, time).await;
        let rounds = match paired::run(&subjects, effort.rounds, make).await {
            Ok(rounds) => rounds,
            Err(error) => {
                findings.lines.push(Line::did_not_run("B10", case, format!("{error:#}")));
                continue;
            }
        };
        for subject in subjects.iter().filter(|subject| subject.name != Peer::Ours.name()) {
            let line = rounds.line("B10", case, Peer::Ours.name(), &subject.name);
            findings.lines.push(match (load, subject.name.as_str()) {
                (LoadKind::Handshakes, name) if name == Peer::Nginx.name() => line.must(Bound::Ratio(0.9)),
                (LoadKind::Connections(_), name) if name == Peer::EnvoyList.name() => {
                    line.must(Bound::Ratio(0.42)).cause(ENCRYPTION)
                }
                _ => line,
            });
        }
        rounds.sides("B10", case, findings);
    }
    servers::stop(up).await;
    for (case, manner) in
        [("plain HTTP/1.1", Manner::Plain), ("TLS, HTTP/1.1", Manner::Tls), ("TLS, HTTP/2", Manner::Http2)]
    {
        idle_lines(programs, case, manner, &material, &upstreams, findings).await?;
    }
    Ok(())
}

/// By a process of its own on the load's core.
async fn handshakes(subject: &Subject, root: &Path, time: Duration) -> anyhow::Result<Window> {
    let mut command = Command::new("taskset");
    command.args(["-c", &LOAD_CORE.to_string()]).arg(std::env::current_exe()?).arg("handshakes");
    command.args(["--address", &subject.ask.address.to_string(), "--clients", &CLIENTS.to_string()]);
    command.arg("--root").arg(root).args(["--seconds", &time.as_secs().max(1).to_string()]);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let outcome: Outcome =
        serde_json::from_str(text.trim()).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let rps = outcome.handshakes as f64 / time.as_secs_f64();
    Ok(Window { requests: outcome.handshakes, errors: outcome.errors, rps, ..Window::default() })
}

async fn idle_lines(
    programs: &Programs,
    case: &str,
    manner: Manner,
    material: &TlsMaterial,
    upstreams: &Upstreams,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let case = format!("idle connection, {case}");
    let mut ours = None;
    for peer in PEERS {
        let tls = (manner != Manner::Plain).then(|| material.files.clone());
        let setup = Setup { tls, ..Setup::plain(free_address()?, upstreams.first()) };
        let line = |ours, theirs, peer: &str| Line { ours, theirs, ..Line::new("B10", case.clone(), peer, "kB") };
        match kilobytes(programs, peer, setup, manner, material).await {
            Ok(kilobytes) if peer == Peer::Ours => {
                ours = Some(kilobytes);
                let line = line(ours, None, "–");
                findings.lines.push(match manner {
                    Manner::Plain => line.must(Bound::Ours(15.0)).stretch(Bound::Ours(8.0)),
                    _ => line,
                });
            }
            Ok(kilobytes) => findings.lines.push(line(ours, Some(kilobytes), peer.name())),
            Err(error) => {
                let line = Line::did_not_run("B10", case.clone(), format!("{error:#}"));
                findings.lines.push(Line { peer: peer.name().to_owned(), ..line });
            }
        }
    }
    Ok(())
}

/// Of resident memory for each of so many connections that carried one request.
async fn kilobytes(
    programs: &Programs,
    peer: Peer,
    setup: Setup,
    manner: Manner,
    material: &TlsMaterial,
) -> anyhow::Result<f64> {
    let server = Server::start(programs, peer, setup).await?;
    let client = manner.client(material.root_der())?;
    // What the first requests make once (pools, buffers, series) is not a connection's.
    let warm = idle::open(server.setup.listen, manner, &client, 100).await?;
    drop(warm);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = resident_kib(server.id())?;
    let open = idle::open(server.setup.listen, manner, &client, IDLE).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = resident_kib(server.id())?;
    drop(open);
    server.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let each = (after - before) * 1.024 / IDLE as f64;
    Ok(each)
}
