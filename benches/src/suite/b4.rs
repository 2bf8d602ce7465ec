//! B4, limits: what counting a client by itself costs one replica, beside those who can, and what counting together costs two.

use super::paired;
use super::servers::{self, Variant};
use super::upstream::Upstreams;
use super::{Effort, Findings, b4_global};
use crate::child::free_address;
use crate::line::{Bound, Line};
use crate::load::{Ask, Cycle};
use crate::peers::setup::{CLIENT, client};
use crate::peers::{LimitSetup, Peer, Programs, Setup};
use crate::policies::{CLIENTS, Case};

const CASE: &str = "local, 100,000 clients";

/// A program without the limit, and with it.
struct Pair {
    peer: Peer,
    without: &'static str,
    with: &'static str,
}

const OURS: Pair = Pair { peer: Peer::Ours, without: "ours, no limit", with: "ours" };
const PEERS: [Pair; 3] = [
    Pair { peer: Peer::Nginx, without: "nginx, no limit", with: "nginx limit_req" },
    Pair { peer: Peer::Haproxy, without: "haproxy, no limit", with: "haproxy stick-table" },
    Pair { peer: Peer::EnvoyList, without: "envoy, no limit", with: "envoy local_ratelimit" },
];

pub(super) async fn run(programs: &Programs, effort: Effort, findings: &mut Findings) -> anyhow::Result<()> {
    let upstreams = Upstreams::start(&["up"]).await?;
    let folder = tempfile::tempdir()?;
    let clients: Vec<String> = (0..CLIENTS).map(client).collect();
    let variant = |name: &'static str, peer, limit| {
        let setup = Setup { limit, ..Setup::plain(free_address()?, upstreams.first()) };
        let cycle = Cycle::new(CLIENT, &clients, folder.path(), &name.replace([' ', ','], "-"))?;
        anyhow::Ok(Variant { name, peer, ask: Ask { cycle: Some(cycle), ..Ask::plain(setup.listen) }, setup })
    };
    let mut variants = Vec::new();
    for Pair { peer, without, with } in [&OURS].into_iter().chain(&PEERS) {
        variants.push(variant(without, *peer, None)?);
        variants.push(variant(with, *peer, Some(LimitSetup::local()))?);
    }
    let (up, subjects) = servers::start_variants(programs, variants, "B4", CASE, findings).await?;
    let rounds = paired::run(&subjects, effort.rounds, paired::no_handshakes).await?;
    rounds.sides("B4", CASE, findings);
    servers::stop(up).await;
    let runs = |name: &str| subjects.iter().any(|subject| subject.name == name);
    for Pair { peer: _, without, with } in [&OURS].into_iter().chain(&PEERS) {
        if runs(without) && runs(with) {
            findings.lines.push(rounds.line("B4", CASE, with, without).note(format!("{with} by itself")));
        }
    }
    for Pair { with, .. } in PEERS.iter().filter(|pair| runs(pair.with)) {
        findings.lines.push(rounds.line("B4", CASE, OURS.with, with));
    }

    let case = format!("{CASE}: added");
    let [none, limited, told] = Case::limit();
    let ours = counted(programs, &upstreams, Peer::Ours, &none, &limited).await?;
    let line = Line { ours: Some(ours), ..Line::new("B4", &*case, "–", "instr/request") };
    findings.lines.push(line.must(Bound::Ours(500.0)).stretch(Bound::Ours(250.0)));
    let told = counted(programs, &upstreams, Peer::Ours, &none, &told).await?;
    let line =
        Line { ours: Some(told), ..Line::new("B4", format!("{case}, clients are told"), "–", "instr/request") };
    findings.lines.push(line.note("`RateLimit` on every answer, our default; no peer has it"));
    for Pair { peer, with, .. } in PEERS.iter().filter(|pair| runs(pair.with)) {
        // A request of Envoy's takes so long under cachegrind that it meets fewer of them.
        let fewer = *peer == Peer::EnvoyList;
        let cases = if fewer { [none.fewer(), limited.fewer()] } else { [none.clone(), limited.clone()] };
        let line = Line::new("B4", &*case, *with, "instr/request");
        findings.lines.push(match counted(programs, &upstreams, *peer, &cases[0], &cases[1]).await {
            Ok(theirs) => {
                let note = if fewer { "its 2,000 clients beside our 100,000" } else { "" };
                Line { ours: Some(ours), theirs: Some(theirs), ..line }.must(Bound::Ratio(1.0)).note(note)
            }
            Err(error) => Line { problem: Some(format!("{error:#}")), ..line },
        });
    }
    b4_global::run(programs, effort, findings).await
}

/// Instructions that a limit adds to a request.
pub(super) async fn counted(
    programs: &Programs,
    upstreams: &Upstreams,
    peer: Peer,
    without: &Case,
    with: &Case,
) -> anyhow::Result<f64> {
    let without = without.instructions(programs, peer, upstreams.first()).await?;
    let with = with.instructions(programs, peer, upstreams.first()).await?;
    super::say(&format!("{}: {without:.0} instructions, with a limit {with:.0}", peer.name()));
    Ok(with - without)
}
