//! The router against the naive fold over all rules, in a world where everything collides.

use portcullis_ir::{Change, Delta, Snapshot};
use portcullis_router::oracle::{Verdict, World, naive_find};
use portcullis_router::{Bind, Router};

const REQUESTS_PER_CONFIG: u64 = 500;

/// SplitMix64 (Steele, Lea and Flood, 2014): a stream of numbers from a seed.
fn choices(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = u128::from(z ^ (z >> 31));
        usize::try_from((number * below as u128) >> 64).unwrap_or_default()
    }
}

/// `PORTCULLIS_ROUTER_CASES` says how many (configuration, request) pairs are tried.
fn cases() -> u64 {
    match std::env::var("PORTCULLIS_ROUTER_CASES") {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("PORTCULLIS_ROUTER_CASES: {error}; give a number")),
        Err(_) => 1_000_000,
    }
}

fn verdict(router: &Router<()>, request: &portcullis_router::Request<'_>) -> Verdict {
    Verdict::from(&router.find(request))
}

fn additions(snapshot: &Snapshot) -> Vec<Change> {
    snapshot.resources().map(|after| Change { before: None, after: Some(after) }).collect()
}

#[test]
fn the_router_agrees_with_a_fold_over_all_rules() {
    let (mut found, mut missed, mut misdirected) = (0_u64, 0_u64, 0_u64);
    for seed in 0..cases().div_ceil(REQUESTS_PER_CONFIG) {
        let mut random = choices(seed);
        // From a single resource to many dozens.
        let size = 1 + random(120);
        let mut world = World::new(random);
        let mut snapshot: Snapshot = (0..size).map(|_| world.resource()).collect();
        let mut router = Router::seeded(seed);
        router.apply(&additions(&snapshot), &mut |_| ());
        for round in 0..REQUESTS_PER_CONFIG {
            // Every so often the configuration changes under the same router.
            if round % 50 == 49 {
                let delta = Delta {
                    upserts: (0..3).map(|_| world.resource()).collect(),
                    removals: (0..2).map(|_| world.key()).collect(),
                };
                router.apply(&snapshot.apply(delta), &mut |_| ());
            }
            let request = world.request();
            let request = request.borrowed();
            let expected = naive_find(&snapshot, &request);
            assert_eq!(
                verdict(&router, &request),
                expected,
                "seed {seed}, request {round}: {request:#?}\n{:#?}",
                snapshot.config
            );
            match expected {
                Verdict::Found { .. } => found += 1,
                Verdict::NotFound { .. } => missed += 1,
                Verdict::Misdirected => misdirected += 1,
            }
        }
    }
    assert!(
        found > missed / 5 && missed > 0 && misdirected > 0,
        "the world is lopsided: {found} {missed} {misdirected}"
    );
}

#[test]
fn a_router_that_was_edited_decides_as_one_built_anew_and_leaves_its_past_alone() {
    for seed in 0..cases() / 20_000 {
        let mut world = World::new(choices(seed ^ 0xed17));
        let (mut snapshot, mut router) = (Snapshot::default(), Router::seeded(seed));
        for step in 0..60 {
            let (past, past_router) = (snapshot.clone(), router.clone());
            // Grows, then shrinks to nothing.
            let (upserts, removals) = if step < 30 { (8, 2) } else { (1, 10) };
            let delta = Delta {
                upserts: (0..upserts).map(|_| world.resource()).collect(),
                removals: (0..removals).map(|_| world.key()).collect(),
            };
            router.apply(&snapshot.apply(delta), &mut |_| ());
            let mut anew = Router::seeded(seed + 1);
            anew.apply(&additions(&snapshot), &mut |_| ());
            for _ in 0..20 {
                let request = world.request();
                let request = request.borrowed();
                assert_eq!(verdict(&router, &request), verdict(&anew, &request), "seed {seed}, step {step}");
                assert_eq!(verdict(&past_router, &request), naive_find(&past, &request), "seed {seed}, step {step}");
                let sni = request.sni.and_then(|sni| sni.name);
                let bind = Bind { address: None, port: 80 };
                assert_eq!(router.listener_for_sni(bind, sni), anew.listener_for_sni(bind, sni));
            }
        }
        let removals = snapshot.resources().map(|resource| resource.key()).collect();
        router.apply(&snapshot.apply(Delta { upserts: Vec::new(), removals }), &mut |_| ());
        assert_eq!((router.rules().count(), router.listeners().count()), (0, 0));
        assert!(router.is_empty(), "seed {seed}: something is left behind");
    }
}

#[test]
fn the_order_in_which_rules_arrive_changes_nothing() {
    for seed in 0..cases() / 100_000 {
        let mut world = World::new(choices(seed ^ 0x5affe));
        let snapshot: Snapshot = (0..80).map(|_| world.resource()).collect();
        let requests: Vec<_> = (0..50).map(|_| world.request()).collect();
        let mut changes = additions(&snapshot);
        let expected: Vec<_> = requests.iter().map(|request| naive_find(&snapshot, &request.borrowed())).collect();
        let mut random = choices(seed);
        for _ in 0..100 {
            for at in (1..changes.len()).rev() {
                changes.swap(at, random(at + 1));
            }
            let mut router = Router::new();
            // One at a time and all at once are the same, too.
            for change in changes.chunks(1 + random(changes.len())) {
                router.apply(change, &mut |_| ());
            }
            for (request, expected) in requests.iter().zip(&expected) {
                assert_eq!(verdict(&router, &request.borrowed()), *expected, "seed {seed}");
            }
        }
    }
}
