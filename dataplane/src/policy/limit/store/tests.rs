//! One table of cases for memory, a server and a cluster: the same requests at the same times have the same answers.

#![allow(clippy::unwrap_used, unreachable_pub)]

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_expressions::Facts;
use portcullis_ir::{self as ir, Calendar, StoreMode};
use portcullis_limits::{Applied, Phase, Program, Registry, Secret, Standings, Time, charge};

use super::connect::Connection;
use super::name::names;
use super::question::{Asked, Memory, Question};

#[allow(dead_code, reason = "shared with the tests over sockets, which use the rest")]
#[path = "../../../../tests/limits/redis.rs"]
mod redis;

use self::redis::Redis;

/// A request under a key: milliseconds since the case began, the key, what it costs, and whether it passes.
type Step = (u64, &'static str, u32, bool);

struct Case {
    name: &'static str,
    limits: Vec<ir::Limit>,
    steps: Vec<Step>,
}

/// 2027-01-31T23:59:58Z, a Sunday: an hour, a day, a week and a month end together in two seconds.
const BEGIN: u64 = 1_801_439_998;

fn window(requests: u64, milliseconds: u64, burst: Option<u64>) -> ir::Limit {
    ir::Limit { requests, period: ir::LimitPeriod::Window(Duration::from_millis(milliseconds)), burst }
}

fn quota(requests: u64, calendar: Calendar) -> ir::Limit {
    ir::Limit { requests, period: ir::LimitPeriod::Calendar(calendar), burst: None }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case {
            name: "a bucket empties at once and refills evenly",
            limits: vec![window(10, 1000, Some(3))],
            steps: vec![
                (0, "a", 1, true),
                (0, "a", 1, true),
                (0, "a", 1, true),
                (0, "a", 1, false),
                (99, "a", 1, false),
                (100, "a", 1, true),
                (100, "a", 1, false),
                (400, "a", 3, true),
                (10_000, "a", 3, true),
                (10_000, "a", 1, false),
            ],
        },
        Case {
            name: "keys have buckets of their own",
            limits: vec![window(1, 60_000, None)],
            steps: vec![(0, "a", 1, true), (0, "b", 1, true), (0, "a", 1, false), (0, "b", 1, false)],
        },
        Case {
            name: "what one limit refuses consumes from none",
            limits: vec![window(2, 1000, None), window(3, 60_000, None)],
            steps: vec![
                (0, "a", 1, true),
                (0, "a", 1, true),
                (0, "a", 1, false),
                (0, "a", 1, false),
                (1000, "a", 1, true),
                (1000, "a", 1, false),
                (21_000, "a", 1, true),
            ],
        },
        Case {
            name: "a request that costs more takes more, or nothing",
            limits: vec![window(10, 10_000, None)],
            steps: vec![
                (0, "a", 7, true),
                (0, "a", 4, false),
                (0, "a", 3, true),
                (0, "a", 11, false),
                (20_000, "a", 11, false),
                (20_000, "a", 10, true),
            ],
        },
        Case {
            name: "a window and a quota hold together",
            limits: vec![window(2, 1000, None), quota(3, Calendar::Day)],
            steps: vec![
                (0, "a", 1, true),
                (0, "a", 1, true),
                (0, "a", 1, false),
                (1500, "a", 1, true),
                (1600, "a", 1, false),
                (2000, "a", 1, true),
            ],
        },
        Case {
            name: "a month and a week are counted side by side",
            limits: vec![quota(2, Calendar::Month), quota(2, Calendar::Week)],
            steps: vec![
                (0, "a", 2, true),
                (1999, "a", 1, false),
                (2000, "a", 2, true),
                (3_600_000, "a", 1, false),
                (7 * 86_400_000 + 1999, "a", 1, false),
                (7 * 86_400_000 + 2000, "a", 1, false),
                (28 * 86_400_000 + 2000, "a", 1, true),
            ],
        },
        Case {
            name: "ten thousand bytes are a key",
            limits: vec![window(1, 60_000, None)],
            steps: vec![(0, "LONG", 1, true), (0, "LONG", 1, false), (0, "a", 1, true)],
        },
    ];
    for (name, calendar) in [
        ("an hour begins anew", Calendar::Hour),
        ("a day begins anew", Calendar::Day),
        ("a week begins anew", Calendar::Week),
        ("a month begins anew", Calendar::Month),
    ] {
        let steps = vec![
            (0, "a", 1, true),
            (0, "a", 2, true),
            (1999, "a", 1, false),
            (2000, "a", 3, true),
            (2001, "a", 1, false),
            (3_000_000, "a", 1, false),
        ];
        cases.push(Case { name, limits: vec![quota(3, calendar)], steps });
    }
    cases
}

/// What a request hears: whether it passes, and of each limit what is left and when it is full.
type Heard = (bool, Vec<(u64, u64)>);

fn program(case: &Case) -> Program {
    let rule = ir::LimitRule {
        name: "rule".into(),
        origin: ir::PolicyOrigin {
            namespace: "team".into(),
            name: "policy".into(),
            uid: case.name.replace(' ', "-").into(),
            target: ir::PolicyTarget::Gateway(ir::GatewayKey::new("team", "edge")),
        },
        shared: false,
        matches: Vec::new(),
        when: Vec::new(),
        key: vec![ir::KeyPart::Header(HeaderName::from_static("x-key"))],
        on_missing_key: ir::OnMissingKey::SharedBucket,
        limits: case.limits.clone(),
        tiers: None,
        scope: ir::LimitScope::Replica,
        shadow: false,
        cost: ir::Cost::Expression(ir::Expression("int(request.headers['x-cost'])".into())),
        response: ir::LimitResponse::default(),
    };
    Program::compile(&ir::Limits { rules: vec![rule] }, &mut Registry::new(Secret::new([1, 2]))).0
}

/// Calls `ask` for each step with the rule as it applies and its key.
async fn run(case: &Case, mut ask: impl AsyncFnMut(Applied<'_>, String, u64) -> Heard) -> Vec<Heard> {
    let program = program(case);
    let mut heard = Vec::new();
    for (milliseconds, key, cost, passes) in &case.steps {
        let key = if *key == "LONG" { "k".repeat(10_000) } else { (*key).to_owned() };
        let mut headers = HeaderMap::new();
        headers.insert("x-key", HeaderValue::from_str(&key).unwrap());
        headers.insert("x-cost", HeaderValue::from(*cost));
        let facts = Facts {
            method: &Method::GET,
            scheme: "http",
            host: "h",
            path: "/",
            query: None,
            headers: &headers,
            client: [192, 0, 2, 1].into(),
            protocol: "HTTP/1.1",
            identity: None,
        };
        let applied = program.round(Phase::Early, &facts).applied[0];
        let answer = ask(applied, applied.key_text(&facts), *milliseconds).await;
        assert_eq!(answer.0, *passes, "{}: {milliseconds} {key:.9} {cost}: {answer:?}", case.name);
        heard.push(answer);
    }
    heard
}

async fn in_memory(case: &Case) -> Vec<Heard> {
    run(case, async |applied, _, milliseconds| {
        let nanos = 1_000_000_000_000 + milliseconds * 1_000_000;
        let now = Time { monotonic: nanos, unix: BEGIN + milliseconds / 1000 };
        let claims: Vec<_> = applied.claims(portcullis_limits::Book::Own).collect();
        let mut standings = Standings::new();
        let passes = charge(&claims, now, &mut standings).is_ok();
        (passes, standings.iter().map(|standing| (standing.remaining, standing.reset)).collect())
    })
    .await
}

async fn in_store(case: &Case, connection: &Connection) -> Vec<Heard> {
    let mut memories: std::collections::HashMap<String, Vec<Memory>> = std::collections::HashMap::new();
    run(case, async |applied, key, milliseconds| {
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
        let counts = answer.counts.iter();
        (answer.granted == 1, counts.map(|counted| (counted.standing.remaining, counted.standing.reset)).collect())
    })
    .await
}

#[tokio::test]
async fn memory_a_server_and_a_cluster_say_the_same() {
    crate::listen::install_provider();
    let single = Redis::start(&[]);
    let nodes = redis::cluster();
    let to = |mode, addresses: Vec<String>| ir::StoreConnection {
        mode,
        addresses: addresses.into_iter().map(Into::into).collect(),
        tls: None,
        username: None,
        password: None,
        database: 0,
    };
    let server = Connection::open(&to(StoreMode::Single, vec![single.address()])).await.unwrap();
    let cluster = Connection::open(&to(StoreMode::Cluster, vec![nodes[0].address()])).await.unwrap();
    for case in cases() {
        let memory = in_memory(&case).await;
        let on_server = in_store(&case, &server).await;
        let in_cluster = in_store(&case, &cluster).await;
        assert_eq!(memory, on_server, "{}", case.name);
        assert_eq!(memory, in_cluster, "{}", case.name);
    }
    assert!(nodes.iter().filter(|node| node.command("DBSIZE") != ":0").count() > 1, "the nodes share the keys");
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
    let to = ir::StoreConnection {
        mode: StoreMode::Single,
        addresses: vec![redis.address().into()],
        tls: None,
        username: None,
        password: None,
        database: 0,
    };
    let mut store = Connection::open(&to).await.unwrap();
    let mut take = async |want, memory: &mut Memory, at| {
        let answer = store.ask(&ask_for(want, memory, at), "nonce").await.unwrap();
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
        take(1, &mut two, 0).await,
        (1, 4),
        "what it remembers and one more; the other's last unit is not known"
    );
    assert_eq!(take(1, &mut one, 0).await, (1, 3), "which the other makes up for");
    assert_eq!(take(9, &mut two, 0).await, (3, 0), "as much as there is");
    assert_eq!(take(1, &mut one, 2_000).await, (1, 1), "time refills it");
}
