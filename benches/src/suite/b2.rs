//! B2, routes: what a request costs that hits the last of so many routes, each with a prefix and an exact header.

use super::paired::{self, LoadKind, Subject};
use super::plot::{Axis, Plot};
use super::upstream::Upstreams;
use super::{Effort, Findings, instructions, servers};
use crate::child::free_address;
use crate::line::{Bound, Line};
use crate::load::Ask;
use crate::peers::{Peer, Programs, Setup};

const SIZES: [usize; 4] = [1, 1_000, 5_000, 50_000];
const PEERS: [Peer; 4] = [Peer::Ours, Peer::EnvoyList, Peer::EnvoyTree, Peer::Traefik];
/// With more, a request through Envoy's list takes milliseconds, and Traefik minutes to start.
const LARGEST_FOR_PEERS: usize = 5_000;
const CONNECTIONS: usize = 64;

pub(super) async fn run(programs: &Programs, effort: Effort, findings: &mut Findings) -> anyhow::Result<()> {
    let upstreams = Upstreams::start(&["up"]).await?;
    let mut curves: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    let mut one = None;
    for size in SIZES {
        let case = format!("{size} routes");
        let peers: &[Peer] = if size > LARGEST_FOR_PEERS { &PEERS[..1] } else { &PEERS };
        let setup = || Ok(Setup::routed(free_address()?, upstreams.first(), size));
        let up = servers::start(programs, peers, "B2", &case, setup, findings).await?;
        let ask = |server: &crate::peers::Server| Ask::routed(server.setup.listen, size);
        let up = servers::ready(up, ask, "B2", &case, findings).await?;
        let subjects: Vec<Subject> =
            up.iter().map(|server| servers::subject(server, ask(server), LoadKind::Connections(CONNECTIONS))).collect();
        let rounds = paired::run(&subjects, effort.rounds, paired::no_handshakes).await?;
        rounds.sides("B2", &case, findings);
        servers::stop(up).await;

        let ours = instructions::routed(programs, Peer::Ours, upstreams.first(), size).await;
        findings.lines.push(own_line(&case, ours, one));
        one = one.or(ours);
        for subject in &subjects {
            let point =
                (f64::from(u32::try_from(size).unwrap_or(u32::MAX)), rounds.cpu_us(&subject.name).unwrap_or(f64::NAN));
            match curves.iter_mut().find(|(name, _)| *name == subject.name) {
                Some((_, points)) => points.push(point),
                None => curves.push((subject.name.clone(), vec![point])),
            }
        }
        for peer in peers.iter().filter(|peer| **peer != Peer::Ours) {
            if !subjects.iter().any(|subject| subject.name == peer.name()) {
                continue;
            }
            // Go's runtime cannot be run under valgrind.
            let theirs = match peer {
                Peer::Traefik => None,
                _ => instructions::routed(programs, *peer, upstreams.first(), size).await,
            };
            let line = rounds.line("B2", &case, Peer::Ours.name(), peer.name());
            findings.lines.extend(judged(*peer, size, &case, Line { instructions: (ours, theirs), ..line }));
        }
        if size > LARGEST_FOR_PEERS {
            for peer in &PEERS[1..] {
                let why = format!("with more than {LARGEST_FOR_PEERS} routes only ours is measured");
                findings.lines.push(Line { peer: peer.name().to_owned(), ..Line::did_not_run("B2", &*case, why) });
            }
        }
    }
    findings.plots.push(Plot {
        name: "b2".to_owned(),
        title: "B2: processor time of a request that hits the last route".to_owned(),
        x: Axis::logarithmic("routes"),
        y: Axis::logarithmic("µs"),
        series: curves,
    });
    Ok(())
}

fn own_line(case: &str, ours: Option<f64>, one: Option<f64>) -> Line {
    let line = Line { ours, ..Line::new("B2", case, "–", "instr/request") };
    match one {
        Some(one) => line.must(Bound::Ours(one + 2_000.0)).stretch(Bound::Ours(one + 1_000.0)),
        None => line,
    }
}

/// The line of processor time, and where there is a target one of instructions.
fn judged(peer: Peer, size: usize, case: &str, line: Line) -> Vec<Line> {
    let bounds = match (peer, size) {
        (Peer::EnvoyList, 1_000) => Some((0.25, 0.09)),
        (Peer::EnvoyList, 5_000) => Some((0.09, 0.02)),
        _ => None,
    };
    let Some((cpu, instructions)) = bounds else { return vec![line] };
    let (ours, theirs) = line.instructions;
    let counted = Line { ours, theirs, ..Line::new("B2", case, peer.name(), "instr/request") };
    vec![line.must(Bound::Ratio(cpu)), counted.must(Bound::Ratio(instructions))]
}
