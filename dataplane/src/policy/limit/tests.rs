//! How long a request can wait for a store. The worker's clock stands still and jumps to the next timer when there is
//! nothing else to do, so that a wait is a number and not a measurement; the store and the control runtime are real.

#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures::future::join_all;
use portcullis_ir as ir;
use portcullis_limits::StoreFailure::{self, Connect, Overload, Timeout};
use tokio::runtime::Runtime;
use tokio::time::Instant as VirtualInstant;

use super::redis::Redis;
use super::store::QUESTIONS;
use super::*;

/// The timer of the runtime counts in milliseconds, and rounds up.
const TICK: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// A control runtime with a thread of its own, and limits that are counted in a store.
struct World {
    control: Option<Runtime>,
    program: Arc<LimitProgram>,
}

fn rule(name: &str, edit: impl FnOnce(&mut ir::FleetScope)) -> ir::LimitRule {
    let mut scope = ir::FleetScope {
        store: key(),
        precision: ir::Precision::Leased,
        local_guard: None,
        on_store_failure: ir::OnStoreFailure::Allow,
        store_timeout: TIMEOUT,
    };
    edit(&mut scope);
    ir::LimitRule {
        name: name.into(),
        origin: ir::PolicyOrigin {
            namespace: "team".into(),
            name: "policy".into(),
            uid: "uid".into(),
            target: ir::PolicyTarget::Gateway(key().gateway),
        },
        shared: false,
        matches: Vec::new(),
        when: Vec::new(),
        key: vec![ir::KeyPart::ClientIp { ipv4_prefix: 32, ipv6_prefix: 64 }],
        on_missing_key: ir::OnMissingKey::SharedBucket,
        limits: vec![ir::Limit {
            requests: 1000,
            period: ir::LimitPeriod::Window(Duration::from_secs(3600)),
            burst: None,
        }],
        tiers: None,
        scope: LimitScope::Fleet(scope),
        shadow: false,
        cost: ir::Cost::Units(1),
        response: ir::LimitResponse::default(),
    }
}

fn key() -> ir::StoreKey {
    ir::StoreKey { gateway: ir::GatewayKey::new("team", "edge") }
}

impl World {
    fn new(address: String, rules: Vec<ir::LimitRule>) -> Self {
        crate::listen::install_provider();
        let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state = Arc::new(State::default());
        state.run_on(control.handle());
        let connection = ir::StoreConnection {
            mode: ir::StoreMode::Single,
            addresses: vec![address.into()],
            tls: None,
            username: None,
            password: None,
            database: 0,
        };
        let store = ir::Store { key: key(), replicas: 1, connection: Some(connection) };
        state.published(&ir::Table::unit(key(), Arc::new(store)));
        let program = LimitProgram::compile(&ir::Limits { rules }, &state);
        Self { control: Some(control), program }
    }

    fn link(&self) -> &Arc<store::Link> {
        &self.program.fleets[0].as_ref().unwrap().link
    }

    /// The store has answered.
    fn connected(self) -> Self {
        until(|| self.link().resting().is_none());
        self
    }

    /// Nothing happens on the control runtime any more, until what this gives is dropped.
    fn stall(&self) -> mpsc::SyncSender<()> {
        let (go_on, stop) = mpsc::sync_channel(1);
        let (stalled, is_stalled) = mpsc::sync_channel(1);
        self.control.as_ref().unwrap().spawn(async move {
            stalled.send(()).unwrap();
            let _ = stop.recv();
        });
        is_stalled.recv().unwrap();
        go_on
    }

    /// Whether a newcomer is admitted, and how long that took by the worker's clock.
    async fn ask(&self, client: u32) -> (bool, Duration) {
        let since = VirtualInstant::now();
        let client = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + client));
        let newcomer = Newcomer { client, server_name: "", protocol: "tcp", now: Instant::now() };
        (admit_connection(&self.program, newcomer).await, since.elapsed())
    }

    fn failures(&self, failure: StoreFailure) -> u64 {
        let rules = self.program.rules.rules().iter();
        rules.map(|rule| rule.counters.tally.failures[failure as usize].value()).sum()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.control.take().unwrap().shutdown_background();
    }
}

/// The real clock goes on while this test's own thread waits.
fn until(holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "it does not come true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_hung_store_as_long_as_its_rule_says_and_after_three_nobody_waits() {
    for precision in [ir::Precision::Leased, ir::Precision::Exact] {
        for (then, admits) in [
            (ir::OnStoreFailure::LocalShare, true),
            (ir::OnStoreFailure::Allow, true),
            (ir::OnStoreFailure::Deny, false),
        ] {
            let redis = Redis::start(&[]);
            let shared = rule("shared", |fleet| (fleet.precision, fleet.on_store_failure) = (precision, then));
            let world = World::new(redis.address(), vec![shared]).connected();
            redis.hang();
            let mut waits = Vec::new();
            for client in 0..100 {
                let (admitted, wait) = world.ask(client).await;
                assert_eq!(admitted, admits, "{precision:?} {then:?}");
                waits.push(wait);
            }
            assert!(waits[0] >= TIMEOUT, "the store was asked");
            assert!(waits.iter().all(|wait| *wait <= TIMEOUT + TICK), "{precision:?} {then:?}: {waits:?}");
            assert!(waits[3..].iter().all(Duration::is_zero), "{precision:?} {then:?}: {waits:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_rules_of_a_request_wait_together_no_longer_than_the_most_patient_of_them() {
    let redis = Redis::start(&[]);
    let of = |name: &str, precision, milliseconds| {
        rule(name, |fleet| {
            (fleet.precision, fleet.store_timeout) = (precision, Duration::from_millis(milliseconds));
        })
    };
    let mut shadow = of("shadow", ir::Precision::Leased, 20);
    shadow.shadow = true;
    let rules = vec![
        of("a", ir::Precision::Exact, 5),
        of("b", ir::Precision::Leased, 20),
        of("c", ir::Precision::Exact, 20),
        of("d", ir::Precision::Leased, 10),
        shadow,
    ];
    let world = World::new(redis.address(), rules).connected();
    redis.hang();
    let (admitted, wait) = world.ask(1).await;
    assert!(admitted && (TIMEOUT..=TIMEOUT + TICK).contains(&wait), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_never_there_is_waited_for_by_nobody() {
    let world = World::new("127.0.0.1:1".to_owned(), vec![rule("shared", |_| {})]);
    for client in 0..10 {
        assert_eq!(world.ask(client).await, (true, Duration::ZERO));
    }
    assert_eq!(world.failures(Connect), 10, "and each is told why");
}

#[tokio::test(start_paused = true)]
async fn a_control_runtime_that_does_nothing_holds_no_request_up_and_what_waits_for_it_is_bounded() {
    let redis = Redis::start(&[]);
    let exact = rule("exact", |fleet| fleet.precision = ir::Precision::Exact);
    let world = World::new(redis.address(), vec![exact]).connected();
    let stalled = world.stall();
    let waiting = join_all((0..5000).map(|client| world.ask(client))).await;
    assert!(waiting.iter().all(|(admitted, wait)| *admitted && *wait <= TIMEOUT + TICK));
    assert_eq!(world.failures(Timeout), QUESTIONS as u64, "so many questions are on their way at the most");
    assert_eq!(world.failures(Overload), 5000 - QUESTIONS as u64, "and the others are answered at once");
    assert_eq!(world.ask(1).await, (true, Duration::ZERO), "the breaker is open");
    drop(stalled);
    until(|| (0..QUESTIONS).map(|_| world.link().slot()).collect::<Result<Vec<_>, _>>().is_ok());
    until(|| world.link().resting().is_none());
}

#[tokio::test(start_paused = true)]
async fn so_many_requests_wait_for_the_units_of_one_key_and_no_more() {
    let redis = Redis::start(&[]);
    let world = World::new(redis.address(), vec![rule("leased", |_| {})]).connected();
    let _stalled = world.stall();
    let waiting = join_all((0..10_050).map(|_| world.ask(1))).await;
    assert!(waiting.iter().all(|(admitted, wait)| *admitted && *wait <= TIMEOUT + TICK));
    assert_eq!(world.failures(Overload), 50);
}

#[test]
fn only_what_can_be_decided_without_waiting_is_decided_at_once() {
    let program = |rules: Vec<ir::LimitRule>| World::new("127.0.0.1:1".to_owned(), rules).program.at_once;
    let own = |name| ir::LimitRule { scope: LimitScope::Replica, ..rule(name, |_| {}) };
    let leased = || rule("leased", |_| {});
    assert_eq!(program(vec![own("a"), own("b")]), AtOnce::Own);
    assert_eq!(program(vec![leased()]), AtOnce::Leased);
    for rules in [
        vec![leased(), own("a")],
        vec![rule("guarded", |fleet| fleet.local_guard = Some(2))],
        vec![rule("exact", |fleet| fleet.precision = ir::Precision::Exact)],
        vec![ir::LimitRule { shadow: true, ..leased() }],
        vec![ir::LimitRule { key: vec![ir::KeyPart::ApiKey], ..leased() }],
    ] {
        assert_eq!(program(rules.clone()), AtOnce::Nothing, "{rules:?}");
    }
}

#[tokio::test]
async fn units_in_hand_are_spent_without_the_store_and_nothing_is_counted_where_there_are_none() {
    let redis = Redis::start(&[]);
    let patient = rule("leased", |fleet| fleet.store_timeout = PATIENCE);
    let world = World::new(redis.address(), vec![patient]).connected();
    let (headers, program) = (HeaderMap::new(), &world.program);
    let client = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001));
    let newcomer = Newcomer { client, server_name: "", protocol: "tcp", now: Instant::now() };
    let round = program.rules.round(limits::Phase::Early, &newcomer.facts(&headers));
    let in_hand = || {
        let mut settled = Settled { applied: round.applied[0], standings: Standings::new() };
        let passes = fleet::settle_in_hand(program, &mut settled);
        passes.map(|passes| (passes, settled.standings[0].remaining))
    };
    assert_eq!(in_hand(), None, "nobody has asked yet");
    // A lease grows while it is spent quickly.
    let mut asked = 0;
    while in_hand().is_none() {
        asked += 1;
        assert!(asked < 900 && world.ask(1).await.0);
    }
    let _stalled = world.stall();
    let spent: Vec<(Result<(), ()>, u64)> = std::iter::from_fn(in_hand).collect();
    let most = 1000 - asked - 1;
    let expected: Vec<_> = (1..=spent.len() as u64).map(|number| (Ok(()), most - number)).collect();
    assert_eq!(spent, expected, "each is told what is left");
    assert_eq!(program.rules.rules()[0].counters.tally.leased.value(), asked + 1 + spent.len() as u64);
}
