//! Both lanes in turn, several edits at once, time passing and statuses written back: what is kept from pass to pass comes to
//! what a pass from nothing would.

use std::sync::Arc;

use k8s_openapi::jiff::SignedDuration;
use portcullis_ir::RouteKind;
use portcullis_translate::{
    Inputs, Memo, NamespacedName, Object, ObjectRef, Output, RouteStatus, Statuses, translate, translate_endpoints,
};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::Config;
use serde_json::Value;

use crate::world::{Edit, Id, apply, world_of};
use crate::{edits, fresh, settings, worlds};

/// What comes before a pass.
#[derive(Clone, Debug)]
enum Step {
    Edits(Vec<Edit>),
    /// Of EndpointSlices: the short lane.
    Slices(Vec<Edit>),
    /// The statuses of routes, as the last pass gave them.
    Written,
    Nothing,
}

fn steps() -> impl Strategy<Value = Step> {
    let slice = (0..4u8, any::<u64>(), any::<bool>()).prop_map(|(number, seed, stays)| {
        if stays { Edit::Put(Id::slice(number), seed) } else { Edit::Remove(Id::slice(number)) }
    });
    let route = (0..5u8, 0..4u8, any::<u64>(), any::<bool>()).prop_map(|(kind, number, seed, stays)| {
        let id = Id::route(kind, number);
        if stays { Edit::Put(id, seed) } else { Edit::Remove(id) }
    });
    prop_oneof![
        2 => prop::collection::vec(edits(), 1..4).prop_map(Step::Edits),
        4 => prop::collection::vec(route, 1..4).prop_map(Step::Edits),
        2 => prop::collection::vec(slice.clone(), 1..3).prop_map(Step::Edits),
        3 => prop::collection::vec(slice, 1..3).prop_map(Step::Slices),
        2 => Just(Step::Written),
        1 => Just(Step::Nothing),
    ]
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_is_kept_comes_to_what_a_pass_from_nothing_would(start in worlds(), steps in prop::collection::vec(steps(), 1..24)) {
        let settings = settings(false);
        let mut inputs = world_of(&start);
        let mut memo = Memo::default();
        let Output { mut snapshots, mut statuses, .. } = translate(&inputs, &settings, &mut memo);
        for step in &steps {
            inputs.now = inputs.now.saturating_add(SignedDuration::from_secs(1)).unwrap();
            match step {
                Step::Edits(edits) => edits.iter().for_each(|edit| apply(&mut inputs, edit)),
                Step::Slices(edits) => {
                    edits.iter().for_each(|edit| apply(&mut inputs, edit));
                    translate_endpoints(&inputs, &mut memo, &mut snapshots);
                    prop_assert_eq!(&snapshots, &fresh(&inputs, &settings).snapshots, "after {:?}", step);
                    continue;
                }
                Step::Written => write(&mut inputs, &statuses),
                Step::Nothing => {}
            }
            let kept = translate(&inputs, &settings, &mut memo);
            let anew = fresh(&inputs, &settings);
            prop_assert_eq!(&kept.snapshots, &anew.snapshots, "after {:?}", step);
            prop_assert_eq!(&kept.statuses, &anew.statuses, "after {:?}", step);
            (snapshots, statuses) = (kept.snapshots, kept.statuses);
        }
    }
}

/// Puts the statuses of routes where their writer would.
fn write(inputs: &mut Inputs, statuses: &Statuses) {
    for (reference, status) in &statuses.routes {
        if let Some(mut object) = object(inputs, reference) {
            // The generated types know one version each.
            object["apiVersion"] = reference.kind.api_version().into();
            object["status"] = serde_json::to_value::<&RouteStatus>(status).unwrap();
            inputs.insert(Object::parse(object).unwrap());
        }
    }
}

fn object(inputs: &Inputs, reference: &ObjectRef) -> Option<Value> {
    let name = NamespacedName::new(reference.namespace.clone()?, Arc::clone(&reference.name));
    let value = match reference.kind.route_kind()? {
        RouteKind::HttpRoute => serde_json::to_value(&**inputs.http_routes.get(&name)?),
        RouteKind::GrpcRoute => serde_json::to_value(&**inputs.grpc_routes.get(&name)?),
        RouteKind::TlsRoute => serde_json::to_value(&**inputs.tls_routes.get(&name)?),
        RouteKind::TcpRoute => serde_json::to_value(&**inputs.tcp_routes.get(&name)?),
        RouteKind::UdpRoute => serde_json::to_value(&**inputs.udp_routes.get(&name)?),
    };
    value.ok()
}
