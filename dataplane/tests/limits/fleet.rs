//! Limits that replicas share.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use portcullis_ir as ir;

use super::redis::{Redis, cluster};
use super::support::h2::{connect, exchange};
use super::support::{Backend, Client, Gateway, Setup, ok, soon};
use super::world::{connection, fleet, header, limited, rule, store, window};

const LEASED: &str = "portcullis_dataplane_rate_limit_leased_units_total";
const RETURNED: &str = "portcullis_dataplane_rate_limit_returned_units_total";

/// Waits until the gateway's store is asked: until a request is admitted without a failure of the store.
pub async fn connected(gateway: &Gateway) {
    let asking = Box::pin(async {
        loop {
            let page = gateway.admin("GET", "/quotas?policy=team/probe&rule=probe").await;
            let direct = gateway.admin("GET", "/quotas?rule=monthly&key=nobody").await;
            let any = gateway.admin("GET", "/quotas?rule=shared").await;
            let keyed = gateway.admin("GET", "/quotas?rule=shared&key=nobody").await;
            if [page, direct, any, keyed].iter().any(|page| page.status == 200) {
                return;
            }
        }
    });
    soon("the store", asking).await;
}

pub fn replica(
    address: ir::StoreConnection,
    replicas: u32,
    shared: ir::LimitRule,
) -> Pin<Box<dyn Future<Output = (Gateway, Backend)>>> {
    Box::pin(start(address, replicas, shared))
}

async fn start(address: ir::StoreConnection, replicas: u32, shared: ir::LimitRule) -> (Gateway, Backend) {
    let backend = Backend::answering(|_| ok("hi")).await;
    let setup = Setup::before(backend.address).resource(store(replicas, Some(address)));
    let gateway = limited(setup, vec![shared]).start().await;
    connected(&gateway).await;
    (gateway, backend)
}

/// So many requests, forty at a time, each with a connection; gives how many were admitted.
pub async fn burst(gateways: &[&Gateway], requests: u64) -> u64 {
    timed_burst(gateways, requests).await.0
}

/// The same, with how long each request took, the shortest first.
pub async fn timed_burst(gateways: &[&Gateway], requests: u64) -> (u64, Vec<Duration>) {
    let admitted = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for connection in 0..40 {
        let (address, admitted) = (gateways[connection % gateways.len()].address(), Arc::clone(&admitted));
        clients.push(tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            let mut times = Vec::new();
            for _ in 0..requests / 40 {
                let since = Instant::now();
                client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
                match client.response().await.status {
                    200 => drop(admitted.fetch_add(1, Ordering::Relaxed)),
                    429 => {}
                    other => panic!("status {other}"),
                }
                times.push(since.elapsed());
            }
            times
        }));
    }
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.unwrap());
    }
    times.sort_unstable();
    (admitted.load(Ordering::Relaxed), times)
}

/// Two thousand requests in one instant: a hundred streams on each of twenty connections, all begun before any is
/// answered.
async fn instant(gateways: [&Gateway; 2]) -> u64 {
    let mut clients = Vec::new();
    for connection in 0..20 {
        clients.push(connect(gateways[connection % 2].address()).await);
    }
    let requests = clients.iter().flat_map(|client| std::iter::repeat_n(client, 100));
    let answers = join_all(requests.map(|client| {
        let request = http::Request::get("http://a.test/").body(()).unwrap();
        exchange(client, request, b"", None)
    }))
    .await;
    let statuses = answers.iter().map(|answer| answer.head.status.as_u16());
    assert!(statuses.clone().all(|status| status == 200 || status == 429));
    statuses.filter(|status| *status == 200).count() as u64
}

#[tokio::test]
async fn two_replicas_admit_exactly_the_limit_of_a_burst() {
    for (precision, clustered) in
        [(ir::Precision::Leased, false), (ir::Precision::Exact, false), (ir::Precision::Leased, true)]
    {
        let single;
        let nodes;
        let to = if clustered {
            nodes = cluster();
            connection(ir::StoreMode::Cluster, &nodes.each_ref().map(Redis::address))
        } else {
            single = Redis::start(&[]);
            connection(ir::StoreMode::Single, &[single.address()])
        };
        // So long that nothing comes back while the test runs.
        let shared = rule("shared", &[window(500, 744 * 3600)], |rule| {
            rule.scope = fleet(|fleet| {
                fleet.precision = precision;
                fleet.on_store_failure = ir::OnStoreFailure::Deny;
                fleet.store_timeout = std::time::Duration::from_secs(5);
            });
        });
        let (one, _one) = replica(to.clone(), 2, shared.clone()).await;
        let (two, _two) = replica(to, 2, shared).await;
        let admitted = instant([&one, &two]).await;
        let taken = one.metric(LEASED).await + two.metric(LEASED).await;
        let returned = one.metric(RETURNED).await + two.metric(RETURNED).await;
        let unused = (taken - returned).saturating_sub(admitted);
        println!("{precision:?}, cluster: {clustered}: {admitted} of 500 admitted, {unused} leased and not used");
        assert!(admitted <= 500, "{admitted} were admitted");
        assert!(admitted + unused + returned >= 500 || precision == ir::Precision::Exact && admitted == 500);
        // What one held unused while the other refused goes back, and is admitted then.
        let mut all = admitted;
        soon("the rest", async {
            while all < 500 {
                all += burst(&[&one, &two], 80).await;
            }
        })
        .await;
        assert_eq!(all + instant([&one, &two]).await, 500, "{precision:?}, cluster: {clustered}");
    }
}

#[tokio::test]
async fn a_large_limit_asks_the_store_seldom() {
    let redis = Redis::start(&[]);
    let shared = rule("shared", &[window(12_800, 3600)], |rule| rule.scope = fleet(|_| {}));
    let to = connection(ir::StoreMode::Single, &[redis.address()]);
    let (gateway, _backend) = replica(to, 2, shared).await;
    burst(&[&gateway], 2000).await;
    let before = redis.calls("evalsha");
    let admitted = burst(&[&gateway], 4000).await;
    let asked = redis.calls("evalsha") - before;
    println!("{asked} questions for {admitted} requests");
    assert_eq!(admitted, 4000);
    assert!(asked * 50 <= admitted, "{asked} questions for {admitted} requests are more than 0.02 each");
}

#[tokio::test]
async fn what_is_in_hand_is_spent_and_told_as_what_is_waited_for() {
    let redis = Redis::start(&[]);
    let cases: [fn(&mut ir::LimitRule); 4] = [
        |_| {},
        |rule| rule.limits.push(window(60, 3600)),
        |rule| rule.response.headers = ir::LimitHeaders::Legacy,
        |rule| {
            rule.on_missing_key = ir::OnMissingKey::Deny;
            rule.cost = ir::Cost::Expression(ir::Expression("int(request.headers['x-cost'])".into()));
        },
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let mut heard = Vec::new();
        // A guard that sheds nothing makes a rule go the way of those that may have to wait.
        for guard in [None, Some(100)] {
            let shared = rule("shared", &[window(200, 3600)], |rule| {
                rule.scope = fleet(|fleet| fleet.local_guard = guard);
                rule.key = vec![header("x-key")];
                rule.origin.uid = format!("{number}-{}", guard.is_some()).into();
                case(rule);
            });
            let to = connection(ir::StoreMode::Single, &[redis.address()]);
            let (gateway, _backend) = replica(to, 1, shared).await;
            let mut client = Client::connect(gateway.address()).await;
            let mut answers = Vec::new();
            for request in 0..250 {
                let key = if request % 50 == 49 { "" } else { "x-key: a\r\n" };
                let cost = ["x-cost: 1\r\n", "x-cost: 2\r\n", "x-cost: 0\r\n", ""][request % 4];
                client.send(&format!("GET / HTTP/1.1\r\nhost: a.test\r\n{key}{cost}\r\n")).await;
                let response = client.response().await;
                let told = ["ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining"]
                    .map(|name| response.header(name).map(untimed));
                answers.push((response.status, told, response.header("retry-after").is_some()));
            }
            heard.push(answers);
        }
        assert!(heard[0].iter().any(|(status, ..)| *status == 429), "{number}");
        for (request, (in_hand, waited)) in heard[0].iter().zip(&heard[1]).enumerate() {
            assert_eq!(in_hand, waited, "case {number}, request {request}");
        }
    }
}

/// What is told without the seconds, which go on.
fn untimed(told: &str) -> String {
    let limits = told.split(", ").map(|limit| limit.split_once(";t=").map_or(limit, |(limit, _)| limit));
    limits.collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn what_is_not_used_goes_back_to_the_store() {
    let redis = Redis::start(&[]);
    let shared = rule("shared", &[window(10_000, 3600)], |rule| rule.scope = fleet(|_| {}));
    let to = connection(ir::StoreMode::Single, &[redis.address()]);
    let (gateway, _backend) = replica(to, 1, shared).await;
    let admitted = burst(&[&gateway], 400).await;
    soon("units to come back", async {
        while gateway.metric(LEASED).await - gateway.metric(RETURNED).await != admitted {}
    })
    .await;
}

#[tokio::test]
async fn a_replica_sheds_what_is_far_beyond_its_share_before_it_asks() {
    let redis = Redis::start(&[]);
    let shared = rule("shared", &[window(100, 3600)], |rule| {
        rule.scope = fleet(|fleet| fleet.local_guard = Some(1));
    });
    let to = connection(ir::StoreMode::Single, &[redis.address()]);
    let (gateway, _backend) = replica(to, 2, shared).await;
    assert_eq!(burst(&[&gateway], 400).await, 50);
    assert!(redis.calls("evalsha") < 100);
}

#[tokio::test]
async fn a_store_is_found_by_its_sentinels() {
    let master = Redis::start(&[]);
    let sentinel = Redis::sentinel(&master);
    let shared = rule("shared", &[window(5, 3600)], |rule| rule.scope = fleet(|_| {}));
    let to = connection(ir::StoreMode::Sentinel("main".into()), &["127.0.0.1:1".to_owned(), sentinel.address()]);
    let (gateway, _backend) = replica(to, 1, shared).await;
    assert_eq!(burst(&[&gateway], 40).await, 5);
    assert!(master.calls("evalsha") > 0);
}

#[tokio::test]
async fn a_store_is_spoken_to_over_tls_as_a_user_with_few_rights() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate_file, key_file) = (file("tls.crt", certificate.pem()), file("tls.key", key.serialize_pem()));
    let port = super::redis::free_port();
    let redis = Redis::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &certificate_file,
        "--tls-key-file",
        &key_file,
        "--tls-auth-clients",
        "no",
        "--user",
        "limits",
        "on",
        ">secret",
        "~portcullis:*",
        "+@scripting",
        "+get",
        "+set",
        "+time",
        "+client",
    ]);
    redis.wait(port);
    let to = ir::StoreConnection {
        tls: Some(ir::StoreTls { roots: vec![certificate.der().to_vec().into()] }),
        username: Some("limits".into()),
        password: Some(ir::Secret::new(b"secret".to_vec())),
        ..connection(ir::StoreMode::Single, &[format!("127.0.0.1:{port}")])
    };
    let shared = rule("shared", &[window(5, 3600)], |rule| rule.scope = fleet(|_| {}));
    let (gateway, _backend) = replica(to, 1, shared).await;
    assert_eq!(burst(&[&gateway], 40).await, 5);
}
