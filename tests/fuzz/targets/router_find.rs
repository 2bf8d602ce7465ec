//! The router agrees with the naive fold over all rules, whatever the configuration, its edits and the requests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_ir::{Change, Delta, Snapshot};
use portcullis_router::Router;
use portcullis_router::oracle::{Verdict, World, naive_find};

fuzz_target!(|data: &[u8]| {
    let Some((&size, mut rest)) = data.split_first() else { return };
    // Bytes are choices. Requests go on until they are used up.
    let mut bytes = std::iter::from_fn(|| rest.split_off_first().copied());
    let exhausted = std::cell::Cell::new(false);
    let mut world = World::new(|below: usize| match bytes.next() {
        Some(byte) => usize::from(byte) % below.max(1),
        None => {
            exhausted.set(true);
            0
        }
    });
    let mut snapshot: Snapshot = (0..=size % 64).map(|_| world.resource()).collect();
    let additions: Vec<_> = snapshot.resources().map(|after| Change { before: None, after: Some(after) }).collect();
    let mut router = Router::new();
    router.apply(&additions, &mut |_| ());
    for round in 1_u32.. {
        let request = world.request();
        let request = request.borrowed();
        assert_eq!(Verdict::from(&router.find(&request)), naive_find(&snapshot, &request), "{request:#?}");
        if exhausted.get() {
            return;
        }
        if round % 4 == 0 {
            let delta = Delta { upserts: vec![world.resource()], removals: vec![world.key()] };
            router.apply(&snapshot.apply(delta), &mut |_| ());
        }
    }
});
