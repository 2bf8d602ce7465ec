//! Connections and UDP sessions: each counts as one request, under the client's address.

use std::net::IpAddr;
use std::time::Instant;

use http::{HeaderMap, Method};
use portcullis_expressions::Facts;
use portcullis_ir::LimitScope;
use portcullis_limits::{self as limits, Book, Claim, Phase, Round, Standings};
use smallvec::SmallVec;

use super::{LimitProgram, fleet, settle, shadow};

/// Who comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer<'a> {
    pub(crate) client: IpAddr,
    /// As the client names it; empty if it does not.
    pub(crate) server_name: &'a str,
    /// `tls`, `tcp` or `udp`.
    pub(crate) protocol: &'static str,
    pub(crate) now: Instant,
}

/// Whether a connection may go on.
pub(crate) async fn admit_connection(program: &LimitProgram, newcomer: Newcomer<'_>) -> bool {
    let headers = HeaderMap::new();
    let facts = newcomer.facts(&headers);
    let round = program.rules.round(Phase::Early, &facts);
    let mut so_far = None;
    let admitted = settle(program, &round, &facts, newcomer.now, &mut so_far).await.is_ok();
    if admitted {
        shadow(program, &round, &facts, newcomer.now, &mut so_far).await;
    }
    admitted
}

/// Whether a UDP session may begin. A datagram waits for nobody: what the fleet counts is counted here, each replica its
/// share.
pub(crate) fn admit_session(program: &LimitProgram, newcomer: Newcomer<'_>) -> bool {
    let headers = HeaderMap::new();
    let facts = newcomer.facts(&headers);
    let round = program.rules.round(Phase::Early, &facts);
    let enforced = count(program, &round, newcomer.now, false);
    enforced && {
        count(program, &round, newcomer.now, true);
        true
    }
}

/// Counts the rules that are enforced, or those that are not.
fn count(program: &LimitProgram, round: &Round<'_>, now: Instant, shadow: bool) -> bool {
    if !shadow && let Some(rule) = round.denied {
        rule.counters.tally.limited.increment();
        return false;
    }
    let of_kind = || round.applied.iter().filter(|applied| applied.rule.shadow == shadow);
    let mut claims: SmallVec<[Claim<'_>; 4]> = SmallVec::new();
    let mut owners: SmallVec<[usize; 4]> = SmallVec::new();
    for (index, applied) in of_kind().enumerate() {
        let book = match &applied.rule.scope {
            LimitScope::Replica => Book::Own,
            LimitScope::Fleet(_) => Book::Share { replicas: fleet::replicas(program, applied) },
        };
        claims.extend(applied.claims(book));
        owners.resize(claims.len(), index);
    }
    match limits::charge(&claims, program.time(now), &mut Standings::new()) {
        Ok(()) => {
            of_kind().for_each(|applied| applied.rule.counters.tally.allowed.increment());
            true
        }
        Err(refused) => {
            if let Some(applied) = owners.get(refused.claim).and_then(|owner| of_kind().nth(*owner)) {
                let tally = &applied.rule.counters.tally;
                if shadow { &tally.shadowed } else { &tally.limited }.increment();
            }
            false
        }
    }
}

impl<'a> Newcomer<'a> {
    pub(super) fn facts(&self, headers: &'a HeaderMap) -> Facts<'a> {
        Facts {
            method: &Method::CONNECT,
            scheme: self.protocol,
            host: self.server_name,
            path: "/",
            query: None,
            headers,
            client: self.client,
            protocol: self.protocol,
            identity: None,
        }
    }
}
