//! B5, all of it together: 1,000 routes with a canary each, a token, a limit for each client, metrics.

use portcullis_ir::Algorithm;

use super::paired;
use super::servers::{self, Variant};
use super::upstream::Upstreams;
use super::{Effort, Findings};
use crate::child::free_address;
use crate::line::Bound;
use crate::load::Ask;
use crate::peers::setup::{CLIENT, client};
use crate::peers::{LimitSetup, Peer, Programs, Setup, TargetSetup, Upstream};
use crate::policies::{CACHE, jwt};
use crate::tokens::Signer;

const ROUTES: usize = 1_000;
const CASE: &str = "1,000 routes, JWT, limit, canary";
const OURS: &str = "ours";
const LIST: &str = "envoy, list, no JWT cache";
const LIST_CACHED: &str = "envoy, list, JWT cache";
const TREE_CACHED: &str = "envoy, tree, JWT cache";

pub(super) async fn run(programs: &Programs, effort: Effort, findings: &mut Findings) -> anyhow::Result<()> {
    let upstreams = Upstreams::start(&["stable", "canary"]).await?;
    let signer = Signer::new(Algorithm::RS256)?;
    let token = signer.token(1)?;
    let variant = |name, peer, cache| {
        let setup = setup(&upstreams.all, &signer, cache)?;
        let mut ask = Ask::routed_with(setup.listen, ROUTES, ("Authorization", format!("Bearer {token}")));
        ask.headers.push((CLIENT, client(1)));
        anyhow::Ok(Variant { name, peer, setup, ask })
    };
    let variants = vec![
        variant(OURS, Peer::Ours, 0)?,
        variant(LIST, Peer::EnvoyList, 0)?,
        variant(LIST_CACHED, Peer::EnvoyList, CACHE)?,
        variant(TREE_CACHED, Peer::EnvoyTree, CACHE)?,
    ];
    let (up, subjects) = servers::start_variants(programs, variants, "B5", CASE, findings).await?;
    let rounds = paired::run(&subjects, effort.rounds, paired::no_handshakes).await?;
    servers::stop(up).await;
    for subject in subjects.iter().filter(|subject| subject.name != OURS) {
        let line = rounds.line("B5", CASE, OURS, &subject.name);
        findings.lines.push(match subject.name.as_str() {
            LIST => line.must(Bound::Ratio(0.14)).stretch(Bound::Ratio(0.10)).note("as people run it today"),
            LIST_CACHED => line.must(Bound::Ratio(0.18)),
            _ => line,
        });
    }
    rounds.sides("B5", CASE, findings);
    Ok(())
}

/// Every route sends nine requests of ten to the first upstream.
fn setup(upstreams: &[Upstream], signer: &Signer, cache: usize) -> anyhow::Result<Setup> {
    let mut setup = Setup::routed(free_address()?, upstreams[0].address, ROUTES);
    let targets = upstreams.iter().zip([9, 1]);
    let targets: Vec<TargetSetup> =
        targets.map(|(upstream, weight)| TargetSetup { name: upstream.name.clone(), weight }).collect();
    for route in &mut setup.routes {
        route.targets.clone_from(&targets);
    }
    // One client sends everything, and is never refused.
    let limit = LimitSetup { requests: 100_000_000, ..LimitSetup::local() };
    Ok(Setup { upstreams: upstreams.to_vec(), auth: Some(jwt(signer, cache)), limit: Some(limit), ..setup })
}
