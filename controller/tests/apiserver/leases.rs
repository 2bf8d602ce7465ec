//! One writes. Whoever loses the lease ends; whoever leaves hands it over.

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use portcullis_apiserver::{Call, Fault, Gate};

use crate::support::World;

const LEASE: &str = "portcullis-controller";

fn is_renewal(call: &Call) -> bool {
    call.resource == "leases" && call.is_write()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_replicas_one_writes_and_the_other_takes_over_at_once() {
    let world = World::new("two").await;
    let (first, first_proxy) = world.controller().await;
    let second_proxy = world.proxy();
    let second = world.replica(&second_proxy, "b").await;
    second.is_ready().await;
    world.gateway().await;
    world.settles("Gateway", "gw", "Accepted=True").await;
    assert!(first.is_leader() && !second.is_leader());
    assert_eq!(second_proxy.writes_since(portcullis_apiserver::Mark::start()), []);

    let mark = first_proxy.mark();
    first.shutdown().await;
    // Released: nobody has to wait until it has not been renewed for long enough.
    let released = first_proxy.calls_since(mark).into_iter().filter(is_renewal).count();
    assert!(released >= 1);
    second.leads().await;
    world.route("web", "/").await;
    world.settles("HTTPRoute", "web", "Accepted=True").await;
    assert!(second_proxy.writes_since(portcullis_apiserver::Mark::start()).iter().any(Call::is_status_write));
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_want_a_free_lease_and_one_gets_it() {
    let world = World::new("race").await;
    let proxies = [world.proxy(), world.proxy()];
    // Both have seen that there is none before either may create it.
    let gates = [Gate::new(), Gate::new()];
    for (proxy, gate) in proxies.iter().zip(&gates) {
        proxy.inject(1, Fault::Hold(gate.clone()), is_renewal);
    }
    let replicas = [world.replica(&proxies[0], "a").await, world.replica(&proxies[1], "b").await];
    for gate in &gates {
        gate.reached().await;
    }
    for gate in &gates {
        gate.open();
    }
    portcullis_apiserver::until("one leads", async || {
        if replicas.iter().any(crate::support::Running::is_leader) { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    world.gateway().await;
    world.settles("Gateway", "gw", "Accepted=True").await;
    assert_eq!(replicas.iter().filter(|replica| replica.is_leader()).count(), 1);
    let writers = proxies
        .iter()
        .filter(|proxy| proxy.writes_since(portcullis_apiserver::Mark::start()).iter().any(Call::is_status_write));
    assert_eq!(writers.count(), 1);
    for replica in replicas {
        replica.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_renew_stops_writing_although_nobody_else_has_begun() {
    let world = World::new("cut-off").await;
    let (mut first, first_proxy) = world.controller().await;
    // It can write everything but its lease.
    first_proxy.inject(usize::MAX, Fault::Status(500), is_renewal);
    first.loses_the_lease().await;
    let mark = first_proxy.mark();
    let second_proxy = world.proxy();
    let second = world.replica(&second_proxy, "b").await;
    second.leads().await;
    world.gateway().await;
    world.settles("Gateway", "gw", "Accepted=True").await;
    // What a Gateway needs is made by another task than statuses are.
    portcullis_apiserver::until("the Gateway has a Deployment", async || {
        let made = |call: &Call| call.resource == "deployments" && call.is_write();
        let writes = second_proxy.writes_since(portcullis_apiserver::Mark::start());
        if writes.iter().any(made) { Ok(()) } else { Err("none is written".to_owned()) }
    })
    .await;
    assert_eq!(first_proxy.writes_since(mark), [], "who lost the lease writes nothing any more");
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_another_has_taken_is_lost() {
    let world = World::new("stolen").await;
    let (mut first, proxy) = world.controller().await;
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), &world.system());
    let thief = serde_json::json!({"spec": {"holderIdentity": "thief_192.0.2.1:1"}});
    leases.patch(LEASE, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(thief)).await.unwrap();
    first.loses_the_lease().await;
    let mark = proxy.mark();
    first.shutdown().await;
    assert_eq!(proxy.calls_since(mark).into_iter().filter(is_renewal).count(), 0, "another's lease is not released");
    let lease = leases.get(LEASE).await.unwrap();
    assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some("thief_192.0.2.1:1"));
}
