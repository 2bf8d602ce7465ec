//! One table of cases for memory, a server and a cluster: the same requests at the same times have the same answers,
//! whatever the store has forgotten in between.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod cases;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_ir::{self as ir, StoreMode};
use portcullis_limits::{Applied, Book, Phase, Program, Registry, Secret, Standing, Standings, Time, charge};

use self::cases::{BEGIN, Case, Said, cases};
use super::connect::Connection;
use super::lease::{Lease, Taken};
use super::name::names;
use super::question::{Answer, Asked, Counted, Memory, Question};
use crate::policy::limit::redis::{self, Redis};

fn window(requests: u64, milliseconds: u64, burst: Option<u64>) -> ir::Limit {
    ir::Limit { requests, period: ir::LimitPeriod::Window(Duration::from_millis(milliseconds)), burst }
}

/// What a request hears: whether it passes, and of each limit what is left and when it is full.
type Heard = (Said, Vec<(u64, u64)>);

/// `run` keeps the counters of this run apart from those of the others.
fn program(case: &Case, run: &str) -> Program {
    let mut rule = ir::LimitRule {
        name: "rule".into(),
        origin: ir::PolicyOrigin {
            namespace: "team".into(),
            name: "policy".into(),
            uid: format!("{run} {}", case.name).replace(' ', "-").into(),
            target: ir::PolicyTarget::Gateway(ir::GatewayKey::new("team", "edge")),
        },
        shared: false,
        matches: Vec::new(),
        when: Vec::new(),
        key: vec![cases::header("x-key")],
        on_missing_key: ir::OnMissingKey::SharedBucket,
        limits: case.limits.clone(),
        tiers: None,
        scope: ir::LimitScope::Replica,
        shadow: false,
        cost: ir::Cost::Expression(ir::Expression("int(request.headers['x-cost'])".into())),
        response: ir::LimitResponse::default(),
    };
    (case.edit)(&mut rule);
    let (program, inert) = Program::compile(&ir::Limits { rules: vec![rule] }, &mut Registry::new(Secret::new([1, 2])));
    assert_eq!(inert, [], "{}", case.name);
    program
}

/// Calls `ask` for each step to which the rule applies, with its key.
async fn run(case: &Case, name: &str, mut ask: impl AsyncFnMut(Applied<'_>, String, u64) -> Heard) -> Vec<Heard> {
    let program = program(case, name);
    let mut heard = Vec::new();
    for step in &case.steps {
        let headers = step.headers();
        let facts = step.facts(&headers);
        let mut answer = (Said::NotApplied, Vec::new());
        for phase in [Phase::Early, Phase::Late] {
            let round = program.round(phase, &facts);
            if round.denied.is_some() || !round.shadow_denied.is_empty() {
                answer = (Said::Denied, Vec::new());
            }
            for applied in round.applied {
                answer = ask(applied, applied.key_text(&facts), step.at).await;
            }
        }
        assert_eq!(answer.0, step.says, "{name}, {}: {step:?}: {answer:?}", case.name);
        heard.push(answer);
    }
    heard
}

async fn in_memory(case: &Case, name: &str, book: Book) -> Vec<Heard> {
    run(case, name, async |applied, _, milliseconds| {
        let nanos = 1_000_000_000_000 + milliseconds * 1_000_000;
        let now = Time { monotonic: nanos, unix: BEGIN + milliseconds / 1000 };
        let claims: Vec<_> = applied.claims(book).collect();
        let mut standings = Standings::new();
        let said = if charge(&claims, now, &mut standings).is_ok() { Said::Passes } else { Said::Refused };
        (said, standings.iter().map(|standing| (standing.remaining, standing.reset)).collect())
    })
    .await
}

/// `before` happens to the store before each question.
async fn in_store(case: &Case, name: &str, connection: &Connection, before: &dyn Fn()) -> Vec<Heard> {
    let mut memories: HashMap<String, Vec<Memory>> = HashMap::new();
    run(case, name, async |applied, key, milliseconds| {
        before();
        let keys = names(&applied.rule.counters.id, &key, applied.plan.shapes.len());
        let held = memories.entry(key).or_insert_with(|| vec![Memory::default(); keys.len()]);
        let counts = keys.into_iter().zip(&applied.plan.shapes).zip(held.iter());
        let counts = counts.map(|((key, shape), memory)| Asked {
            key,
            shape: *shape,
            cost: applied.cost,
            memory: memory.clone(),
        });
        let now = Some(BEGIN * 1_000_000 + milliseconds * 1000);
        let question = Question { want: 1, reset: false, counts: counts.collect(), now };
        let answer = connection.clone().ask(&question, "nonce").await.unwrap();
        for (memory, counted) in held.iter_mut().zip(&answer.counts) {
            if let Some(newer) = &counted.memory {
                memory.clone_from(newer);
            }
        }
        let said = if answer.granted == 1 { Said::Passes } else { Said::Refused };
        let counts = answer.counts.iter();
        (said, counts.map(|counted| (counted.standing.remaining, counted.standing.reset)).collect())
    })
    .await
}

fn to(mode: StoreMode, address: String) -> ir::StoreConnection {
    let addresses = vec![address.into()];
    ir::StoreConnection { mode, addresses, tls: None, username: None, password: None, database: 0 }
}

#[tokio::test]
async fn memory_a_server_and_a_cluster_say_the_same_whatever_they_have_forgotten() {
    crate::listen::install_provider();
    let single = Redis::start(&[]);
    let nodes = redis::cluster();
    let server = Connection::open(&to(StoreMode::Single, single.address())).await.unwrap();
    let cluster = Connection::open(&to(StoreMode::Cluster, nodes[0].address())).await.unwrap();
    let everywhere = |command: &'static str| {
        let (single, nodes) = (&single, &nodes);
        move || nodes.iter().chain([single]).for_each(|node| assert_eq!(node.command(command), "+OK"))
    };
    let (scripts, all) = (everywhere("SCRIPT FLUSH"), everywhere("FLUSHALL"));
    let failures: [(&str, &dyn Fn()); 3] = [("", &|| {}), (" without scripts", &scripts), (" flushed", &all)];
    let (mut count, mut used) = (0, 0);
    for case in cases() {
        let memory = in_memory(&case, "memory", Book::Own).await;
        // What a replica counts that is alone without its store.
        assert_eq!(memory, in_memory(&case, "share", Book::Share { replicas: 1 }).await, "{}", case.name);
        for (failure, before) in failures {
            for (store, connection) in [("server", &server), ("cluster", &cluster)] {
                let name = format!("{store}{failure}");
                assert_eq!(memory, in_store(&case, &name, connection, before).await, "{name}: {}", case.name);
            }
            used = used.max(nodes.iter().filter(|node| node.command("DBSIZE") != ":0").count());
        }
        count += 1;
    }
    println!("{count} cases in memory, at a server and in a cluster, each with three kinds of failure");
    assert_eq!(used, 3, "the nodes share the keys");
}

fn ask_for(want: i64, memory: &Memory, milliseconds: u64) -> Question {
    let shape = portcullis_limits::Shape::from(&window(10, 10_000, None));
    let asked = Asked { key: Arc::from("portcullis:{k}:0"), shape, cost: 1, memory: memory.clone() };
    Question { want, reset: false, counts: vec![asked], now: Some(BEGIN * 1_000_000 + milliseconds * 1000) }
}

#[tokio::test]
async fn a_store_that_has_forgotten_is_reminded_by_whoever_knows_most() {
    crate::listen::install_provider();
    let redis = Redis::start(&[]);
    let mut store = Connection::open(&to(StoreMode::Single, redis.address())).await.unwrap();
    let mut asked = 0;
    let mut take = async |want, memory: &mut Memory, at| {
        asked += 1;
        let answer = store.ask(&ask_for(want, memory, at), &format!("nonce{asked}")).await.unwrap();
        if let Some(newer) = &answer.counts[0].memory {
            memory.clone_from(newer);
        }
        (answer.granted, answer.counts[0].standing.remaining)
    };
    let (mut one, mut two) = (Memory::default(), Memory::default());
    assert_eq!(take(3, &mut one, 0).await, (3, 7));
    assert_eq!(take(4, &mut two, 0).await, (4, 3));
    // Given back while another remembers more: the store has not forgotten, so it is believed.
    assert_eq!(take(-2, &mut two, 0).await, (-2, 5));
    assert_eq!(take(1, &mut one, 0).await, (1, 4));
    assert_eq!(redis.command("FLUSHALL"), "+OK");
    assert_eq!(
        take(9, &mut two, 0).await,
        (1, 4),
        "what it remembers and a quarter of the rest; the other's last unit is not known"
    );
    assert_eq!(take(9, &mut two, 100).await, (0, 4), "nor is it known yet that nobody comes who knows more");
    assert_eq!(take(1, &mut one, 200).await, (0, 3), "which the other makes up for");
    assert_eq!(take(9, &mut two, 250).await, (3, 0), "as much as there is");
    assert_eq!(take(1, &mut one, 2_000).await, (1, 1), "time refills it");
}

#[tokio::test]
async fn a_store_whose_clock_jumps_an_hour_keeps_nobody_out_and_gives_no_window_twice() {
    crate::listen::install_provider();
    const HOUR: u64 = 3_600_000;
    let redis = Redis::start(&[]);
    let mut store = Connection::open(&to(StoreMode::Single, redis.address())).await.unwrap();
    let mut memory = Memory::default();
    let mut take = async |want, at| {
        let answer = store.ask(&ask_for(want, &memory, at), "nonce").await.unwrap();
        if let Some(newer) = &answer.counts[0].memory {
            memory.clone_from(newer);
        }
        answer.granted
    };
    assert_eq!(take(12, HOUR).await, 10);
    // Set back: the bucket is as empty as it was, and fills as it would have.
    assert_eq!([take(1, 0).await, take(1, 999).await], [0, 0]);
    assert_eq!([take(1, 1000).await, take(9, 10_000).await], [1, 9]);
    // Ahead, over many windows: one of them is given. And back again, to where it was.
    assert_eq!([take(99, HOUR).await, take(1, HOUR).await], [10, 0]);
    assert_eq!([take(1, 11_000).await, take(99, 21_000).await], [0, 10]);
}

#[tokio::test]
async fn a_store_whose_clock_jumps_over_the_end_of_a_period_gives_the_next_one_once() {
    crate::listen::install_provider();
    let redis = Redis::start(&[]);
    let mut store = Connection::open(&to(StoreMode::Single, redis.address())).await.unwrap();
    let mut memory = Memory::default();
    let mut take = async |want, seconds: u64| {
        let limit = cases::quota(10, ir::Calendar::Hour);
        let shape = portcullis_limits::Shape::from(&limit);
        let asked = Asked { key: Arc::from("portcullis:{q}:0"), shape, cost: 1, memory: memory.clone() };
        let question = Question { want, reset: false, counts: vec![asked], now: Some((BEGIN + seconds) * 1_000_000) };
        let answer = store.ask(&question, "nonce").await.unwrap();
        if let Some(newer) = &answer.counts[0].memory {
            memory.clone_from(newer);
        }
        answer.granted
    };
    assert_eq!([take(8, 0).await, take(9, 3600).await], [8, 9]);
    assert_eq!([take(9, 0).await, take(9, 3600).await], [1, 0], "back and forth over the edge");
    assert_eq!(take(99, 7200).await, 10, "the period after it");
}

#[test]
fn what_is_put_back_while_nothing_is_there_is_there_again() {
    let lease = Lease::new(vec![Arc::from("portcullis:{k}:0")]);
    let counted = |remaining| Counted {
        standing: Standing { remaining, reset: 0, retry: 0 },
        retry: Duration::ZERO,
        memory: Some(Memory::default()),
    };
    let Taken::Wait { reply: _reply, ask: true } = lease.take(1, 10) else { panic!("nothing is there yet") };
    let answer = Answer { granted: 1, life: None, counts: vec![counted(9)] };
    assert!(!lease.settle(Ok(answer), 1, 10));
    assert_eq!(lease.units(10), 0, "the one who waited has it");
    lease.put_back(1, 10);
    assert_eq!(lease.units(10), 1);
    assert_eq!(lease.drain(10), 1);
    lease.put_back(2, 10);
    assert_eq!(lease.units(10), 2, "after all was given back to the store");
    lease.reset();
    lease.put_back(1, 10);
    assert_eq!(lease.units(10), 0, "what was taken before a reset is forgotten with it");
}
