//! Whatever is edited, and whoever is connected to whom meanwhile: in the end every data plane holds what it should.

use crate::support::gateway::{backend, endpoints, gateway, route, snapshot};
use crate::support::plane::Plane;
use crate::support::replica::{Replica, ca};
use crate::support::until_in_force;
use crate::support::wire::Wire;
use portcullis_ir::Resource;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A route, in an edition; 0 takes it away.
    Route(u16, u16),
    Backend(u16, bool),
    Endpoints(u16, u16),
    /// A replica sees everything that has happened so far.
    See(usize),
    Lead(usize),
    Cut,
    /// Waits until the pod is where its replica wants it.
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6_u16, 0..4_u16).prop_map(|(number, edition)| Step::Route(number, edition)),
        1 => (0..3_u16, any::<bool>()).prop_map(|(number, there)| Step::Backend(number, there)),
        2 => (0..3_u16, 0..4_u16).prop_map(|(number, port)| Step::Endpoints(number, port)),
        4 => (0..2_usize).prop_map(Step::See),
        1 => (0..2_usize).prop_map(Step::Lead),
        1 => Just(Step::Cut),
        1 => Just(Step::Settle),
    ];
    proptest::collection::vec(step, 1..40)
}

fn put(world: &mut portcullis_ir::Snapshot, resource: Resource, there: bool) {
    match there {
        true => drop(world.insert(resource)),
        false => drop(world.remove(&resource.key())),
    }
}

async fn live_through(steps: Vec<Step>) {
    let material = ca();
    let replicas = [Replica::start(1, &material).await, Replica::start(2, &material).await];
    let mut world = snapshot([route(0, 1)]);
    for replica in &replicas {
        replica.publisher.publish(&gateway(), &world);
    }
    let wire = Wire::start(Some(replicas[0].address)).await;
    let planes = ["a", "b"].map(|pod| Plane::start(pod, wire.address, &replicas[0].pki));
    let mut leading = 0;
    for step in steps {
        match step {
            Step::Route(number, edition) => put(&mut world, route(number, edition), edition > 0),
            Step::Backend(number, there) => put(&mut world, backend(number), there),
            Step::Endpoints(number, port) => put(&mut world, endpoints(number, 80 + port), port > 0),
            Step::See(replica) => drop(replicas[replica].publisher.publish(&gateway(), &world)),
            Step::Lead(replica) => {
                leading = replica;
                wire.lead(Some(replicas[replica].address));
            }
            Step::Cut => wire.cut(),
            Step::Settle => drop(until_in_force(&replicas[leading].publisher, &gateway(), "a").await),
        }
    }
    let last = &replicas[leading].publisher;
    let target = last.publish(&gateway(), &world).target;
    for pod in ["a", "b"] {
        let pod = until_in_force(last, &gateway(), pod).await;
        assert_eq!(pod.held.map(|held| held.digests), Some(target.digests));
        assert_eq!((pod.rejected, pod.refused), (Vec::new(), None));
    }
    for plane in planes {
        plane.stop().await;
    }
}

#[test]
fn whatever_happens_every_data_plane_ends_with_what_its_replica_wants() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases: 12, max_shrink_iters: 16, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    runner
        .run(&steps(), |steps| {
            runtime.block_on(live_through(steps));
            Ok(())
        })
        .unwrap();
}
