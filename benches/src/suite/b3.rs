//! B3, authentication: tokens that were never seen and one that is, for each kind of signature; API keys.

use portcullis_ir::Algorithm;
use tempfile::TempDir;

use super::paired::{self, Rounds};
use super::servers::{self, Variant};
use super::upstream::Upstreams;
use super::{Effort, Findings};
use crate::child::free_address;
use crate::line::{Bound, Line};
use crate::load::{Ask, Cycle};
use crate::peers::setup::{API_KEY, api_key};
use crate::peers::{AuthSetup, Peer, Programs, Setup};
use crate::policies::{CACHE, CONSUMERS, Case, jwt};
use crate::tokens::Signer;

/// Tokens of a pool: more than twice as many as are remembered, in turn, so that each is forgotten before it comes again.
const POOL: usize = 40_000;
/// Others that come before those, once: as many as a worker remembers. While there is room ours keeps every token, and would know a part of
/// the pool for good.
const BEFORE: usize = 20_000;
const AUTHORIZATION: &str = "Authorization";

const OURS: &str = "ours, no policy";
const OURS_COLD: &str = "ours, every request a miss";
const OURS_CACHED: &str = "ours, one token";
const OURS_KEY: &str = "ours, API key";
const ENVOY: &str = "envoy, no policy";
const ENVOY_COLD: &str = "envoy, no cache";
const ENVOY_CACHED: &str = "envoy, cache, one token";

pub(super) async fn run(programs: &Programs, effort: Effort, findings: &mut Findings) -> anyhow::Result<()> {
    let upstreams = Upstreams::start(&["up"]).await?;
    let setup = |auth| anyhow::Ok(Setup { auth, ..Setup::routed(free_address()?, upstreams.first(), 1) });
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let name = format!("{algorithm:?}");
        super::say(&format!("{} tokens of {name}", POOL + BEFORE));
        let pool = Pool::make(algorithm).await?;
        let mut variants = vec![
            pool.cold(OURS_COLD, Peer::Ours, setup(Some(jwt(&pool.signer, 0)))?)?,
            pool.cold(ENVOY_COLD, Peer::EnvoyList, setup(Some(jwt(&pool.signer, 0)))?)?,
        ];
        if algorithm == Algorithm::RS256 {
            variants.push(pool.repeated(OURS, Peer::Ours, setup(None)?));
            variants.push(pool.repeated(OURS_CACHED, Peer::Ours, setup(Some(jwt(&pool.signer, 0)))?));
            variants.push(pool.repeated(ENVOY, Peer::EnvoyList, setup(None)?));
            variants.push(pool.repeated(ENVOY_CACHED, Peer::EnvoyList, setup(Some(jwt(&pool.signer, CACHE)))?));
        }
        let rounds = measured(programs, effort, variants, &name, findings).await?;
        let cold = rounds.line("B3", &format!("{name}, every request a miss"), OURS_COLD, ENVOY_COLD);
        if algorithm == Algorithm::RS256 {
            let added = note(&rounds, OURS_COLD, OURS);
            findings.lines.push(cold.must(Bound::Ratio(0.44)).stretch(Bound::Ratio(0.38)).note(added));
            let cached = rounds.line("B3", "RS256, one token repeated", OURS_CACHED, ENVOY_CACHED);
            findings.lines.push(cached.note(note(&rounds, OURS_CACHED, OURS)));
            findings.lines.push(rounds.line("B3", "RS256, one token repeated", OURS_CACHED, OURS));
            findings
                .lines
                .push(rounds.line("B3", "RS256, every request a miss", ENVOY_COLD, ENVOY).note("envoy by itself"));
        } else {
            findings.lines.push(cold);
        }
    }

    let case = format!("an API key among {CONSUMERS}");
    let key = |name, auth| {
        let setup: Setup = setup(auth)?;
        let header = (API_KEY, api_key(CONSUMERS / 3));
        anyhow::Ok(Variant { name, peer: Peer::Ours, ask: Ask::routed_with(setup.listen, 1, header), setup })
    };
    let variants = vec![key(OURS, None)?, key(OURS_KEY, Some(AuthSetup::ApiKeys(CONSUMERS)))?];
    let rounds = measured(programs, effort, variants, &case, findings).await?;
    findings.lines.push(rounds.line("B3", &case, OURS_KEY, OURS).note(note(&rounds, OURS_KEY, OURS)));

    added(programs, &upstreams, "RS256, one token repeated: added", 1_500.0, Case::token(CACHE)?, findings).await?;
    added(programs, &upstreams, &format!("{case}: added"), 1_000.0, Case::key(), findings).await
}

async fn measured(
    programs: &Programs,
    effort: Effort,
    variants: Vec<Variant>,
    case: &str,
    findings: &mut Findings,
) -> anyhow::Result<Rounds> {
    let (up, subjects) = servers::start_variants(programs, variants, "B3", case, findings).await?;
    let rounds = paired::run(&subjects, effort.rounds, paired::no_handshakes).await?;
    rounds.sides("B3", case, findings);
    servers::stop(up).await;
    Ok(rounds)
}

/// Instructions that ours takes more than without the policy, for the same request.
async fn added(
    programs: &Programs,
    upstreams: &Upstreams,
    case: &str,
    most: f64,
    [without, with]: [Case; 2],
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let without = without.instructions(programs, Peer::Ours, upstreams.first()).await?;
    let with = with.instructions(programs, Peer::Ours, upstreams.first()).await?;
    let line = Line { ours: Some(with - without), ..Line::new("B3", case, "–", "instr/request") };
    findings.lines.push(line.must(Bound::Ours(most)).note(format!("{without:.0} without")));
    Ok(())
}

/// What the policy adds, in microseconds of processor time.
fn note(rounds: &Rounds, with: &str, without: &str) -> String {
    match (rounds.cpu_us(with), rounds.cpu_us(without)) {
        (Some(with), Some(without)) => format!("the policy adds {:.1} µs", with - without),
        _ => String::new(),
    }
}

/// Tokens of one signer.
struct Pool {
    signer: Signer,
    tokens: Vec<String>,
    /// Not of the pool.
    before: Vec<String>,
    folder: TempDir,
}

impl Pool {
    /// Signing thousands takes a while, on a thread of its own.
    async fn make(algorithm: Algorithm) -> anyhow::Result<Self> {
        let making = tokio::task::spawn_blocking(move || {
            let signer = Signer::new(algorithm)?;
            let make = |numbers: std::ops::Range<usize>| {
                numbers.map(|number| signer.token(number)).collect::<anyhow::Result<Vec<_>>>()
            };
            let (tokens, before) = (make(0..POOL)?, make(POOL..POOL + BEFORE)?);
            anyhow::Ok(Self { signer, tokens, before, folder: tempfile::tempdir()? })
        });
        making.await?
    }

    fn cold(&self, name: &'static str, peer: Peer, setup: Setup) -> anyhow::Result<Variant> {
        let values = |tokens: &[String]| tokens.iter().map(|token| format!("Bearer {token}")).collect::<Vec<_>>();
        let place = if peer == Peer::Ours { "ours" } else { "peer" };
        let cycle = Cycle::new(AUTHORIZATION, &values(&self.tokens), self.folder.path(), place)?;
        let cycle = Cycle { before: values(&self.before), ..cycle };
        let ask = Ask::routed_with(setup.listen, 1, ("x-bench", "b3".to_owned()));
        Ok(Variant { name, peer, ask: Ask { cycle: Some(cycle), ..ask }, setup })
    }

    fn repeated(&self, name: &'static str, peer: Peer, setup: Setup) -> Variant {
        let header = (AUTHORIZATION, format!("Bearer {}", self.tokens[0]));
        Variant { name, peer, ask: Ask::routed_with(setup.listen, 1, header), setup }
    }
}
