//! Several peers up at once. One that does not start is a line that says why, and the others go on; without ours there is nothing to compare.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::Findings;
use super::paired::{LoadKind, Subject};
use crate::line::Line;
use crate::load::Ask;
use crate::load::sequential::{Connection, until};
use crate::peers::{Peer, Programs, Server, Setup};

const READY: Duration = Duration::from_secs(180);
const CONNECTIONS: usize = 64;

pub(super) async fn start(
    programs: &Programs,
    peers: &[Peer],
    bench: &str,
    case: &str,
    setup: impl Fn() -> anyhow::Result<Setup>,
    findings: &mut Findings,
) -> anyhow::Result<Vec<Server>> {
    let mut up = Vec::new();
    for peer in peers {
        match Server::start(programs, *peer, setup()?).await {
            Ok(server) => up.push(server),
            Err(error) if *peer == Peer::Ours => return Err(error.context("our own data plane")),
            Err(error) => {
                super::say(&format!("{} does not start: {error:#}", peer.name()));
                let line = Line::did_not_run(bench, case, format!("{error:#}"));
                findings.lines.push(Line { peer: peer.name().to_owned(), ..line });
            }
        }
    }
    Ok(up)
}

pub(super) fn subject(server: &Server, ask: Ask, load: LoadKind) -> Subject {
    Subject { name: server.peer.name().to_owned(), id: server.id(), ask, load }
}

/// Waits until each answers; one that never does is ended, and said.
pub(super) async fn ready(
    up: Vec<Server>,
    ask: impl Fn(&Server) -> Ask,
    bench: &str,
    case: &str,
    findings: &mut Findings,
) -> anyhow::Result<Vec<Server>> {
    let mut good = Vec::new();
    for server in up {
        match answers(ask(&server)).await {
            Ok(()) => good.push(server),
            Err(error) if server.peer == Peer::Ours => return Err(error).context("our own data plane"),
            Err(error) => {
                let line = Line::did_not_run(bench, case, format!("{error:#}"));
                findings.lines.push(Line { peer: server.peer.name().to_owned(), ..line });
                // It is ended all the same when it is dropped.
                let _ = server.stop().await;
            }
        }
    }
    Ok(good)
}

/// Asks until the answer is 200, then what goes before everything that is measured.
async fn answers(ask: Ask) -> anyhow::Result<()> {
    let asking = tokio::task::spawn_blocking(move || {
        let mut connection = Connection::new(ask.address);
        until(&mut connection, &ask.bytes(), Instant::now(), READY, |answer| answer.status == 200)?;
        for request in ask.before() {
            let status = connection.ask(&request)?.status;
            anyhow::ensure!(status == 200, "a request that goes before the others was answered {status}");
        }
        anyhow::Ok(())
    });
    asking.await??;
    Ok(())
}

/// A server under a name of its own, where one program is measured in several forms.
pub(super) struct Variant {
    pub(super) name: &'static str,
    pub(super) peer: Peer,
    pub(super) setup: Setup,
    pub(super) ask: Ask,
}

/// Those that start and answer, and how they are asked.
pub(super) async fn start_variants(
    programs: &Programs,
    variants: Vec<Variant>,
    bench: &str,
    case: &str,
    findings: &mut Findings,
) -> anyhow::Result<(Vec<Server>, Vec<Subject>)> {
    let (mut up, mut subjects) = (Vec::new(), Vec::new());
    for Variant { name, peer, setup, ask } in variants {
        let started = async {
            let server = Server::start(programs, peer, setup).await?;
            answers(ask.clone()).await?;
            anyhow::Ok(server)
        };
        match started.await {
            Ok(server) => {
                let load = LoadKind::Connections(CONNECTIONS);
                subjects.push(Subject { name: name.to_owned(), id: server.id(), ask, load });
                up.push(server);
            }
            Err(error) if peer == Peer::Ours => return Err(error.context(name)),
            Err(error) => {
                super::say(&format!("{name} does not start: {error:#}"));
                let line = Line::did_not_run(bench, case, format!("{error:#}"));
                findings.lines.push(Line { peer: name.to_owned(), ..line });
            }
        }
    }
    Ok((up, subjects))
}

pub(super) async fn stop(up: Vec<Server>) {
    for server in up {
        let name = server.peer.name();
        if let Err(error) = server.stop().await {
            super::say(&format!("{name} did not end by itself: {error:#}"));
        }
    }
}
