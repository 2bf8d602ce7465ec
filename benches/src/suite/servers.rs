//! Several peers up at once. One that does not start is a line that says why, and the others go on; without ours there is nothing to compare.

use anyhow::Context;

use super::Findings;
use super::paired::{LoadKind, Subject};
use crate::line::Line;
use crate::load::Ask;
use crate::peers::{Peer, Programs, Server, Setup};

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
        let request = ask(&server);
        let asking = tokio::task::spawn_blocking(move || {
            let mut connection = crate::load::sequential::Connection::new(request.address);
            let (began, limit) = (std::time::Instant::now(), std::time::Duration::from_secs(180));
            crate::load::sequential::until(&mut connection, &request.bytes(), began, limit, |answer| {
                answer.status == 200
            })
        });
        match asking.await? {
            Ok(_) => good.push(server),
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

pub(super) async fn stop(up: Vec<Server>) {
    for server in up {
        let name = server.peer.name();
        if let Err(error) = server.stop().await {
            super::say(&format!("{name} did not end by itself: {error:#}"));
        }
    }
}
