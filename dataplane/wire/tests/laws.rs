//! The laws of the wire, over generated snapshots.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use portcullis_ir::{Digest, Resource, ResourceKey, Snapshot, arbitrary};
use portcullis_wire::{
    Assembler, ConfigTarget, Digests, Encoded, Kind, Lane, Limits, Received, Refusal, RejectionCode, ServerMessage,
    SnapshotHead, SnapshotPart, State, Update, Version, decode, decode_key, delta_messages, diff, encode, encode_key,
    hash, lane_snapshot_messages, preflight, proto, snapshot_messages,
};
use proptest::prelude::{Just, ProptestConfig, Strategy, any};
use proptest::{prop_assert, prop_assert_eq, proptest};
use prost::Message;

const FIRST: Version = Version { epoch: 7, number: 1 };
const SECOND: Version = Version { epoch: 7, number: 2 };

/// So small that every snapshot comes in several parts.
const SMALL: Limits =
    Limits { max_message: 2048, max_resource: 1024 * 1024, max_resources: 1000, max_update: 16 * 1024 * 1024 };

fn state(version: Version, snapshot: &Snapshot) -> State {
    State { version, digests: Digests::of(snapshot) }
}

/// Feeds all messages through their bytes and gives the update that the last one completes.
fn receive(assembler: &mut Assembler, messages: Vec<ServerMessage>) -> Option<Update> {
    let mut update = None;
    for message in messages {
        assert!(update.is_none(), "an update came before its last part");
        match assembler.receive(&message.into_vec()).unwrap() {
            Received::Update(complete) => update = Some(*complete),
            Received::More => {}
            Received::Observe(_) => unreachable!("nobody observes"),
        }
    }
    update
}

/// A reader that was brought to `snapshot` as version [`FIRST`].
fn reader(snapshot: &Snapshot, limits: Limits) -> Assembler {
    let mut assembler = Assembler::new(limits);
    let messages = snapshot_messages(FIRST, snapshot, Digests::of(snapshot), &wide(limits));
    receive(&mut assembler, messages).unwrap();
    assembler
}

/// What one resource needs at least, so that a small message bound does not refuse it.
fn wide(limits: Limits) -> Limits {
    Limits { max_message: limits.max_message / 2, ..limits }
}

fn small_enough(snapshot: &Snapshot) -> bool {
    snapshot.resources().all(|resource| encode(&resource).encoded_len() < SMALL.max_message / 2)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn decoding_gives_back_what_was_encoded(resource in arbitrary::resource()) {
        let bytes = encode(&resource).encode_to_vec();
        prop_assert_eq!(&bytes, &encode(&resource).encode_to_vec());
        let decoded = decode(proto::Resource::decode(&*bytes).unwrap());
        prop_assert_eq!(decoded.as_ref(), Ok(&resource));
        prop_assert_eq!(decode_key(encode_key(&resource.key())), Ok(resource.key()));
        prop_assert_eq!(preflight(&resource, &Limits::default()), Ok(()));
    }

    #[test]
    fn applying_the_difference_gives_the_other_snapshot_and_its_digests(
        from in arbitrary::snapshot(),
        to in arbitrary::snapshot(),
    ) {
        let delta = diff(&from, &to);
        let entries = delta.upserts.len() + delta.removals.len();
        let mut digests = Digests::of(&from);
        let mut applied = from;
        let changes = applied.apply(delta);
        digests.update(&changes);
        prop_assert_eq!(&applied, &to);
        prop_assert_eq!(digests, Digests::of(&to));
        prop_assert_eq!(changes.len(), entries, "the delta holds no idle entry");
        prop_assert!(diff(&applied, &to).is_empty());
    }

    #[test]
    fn equal_values_that_share_nothing_differ_in_nothing(snapshot in arbitrary::snapshot()) {
        let copy: Snapshot = snapshot.resources().map(|resource| decode(encode(&resource)).unwrap()).collect();
        prop_assert!(diff(&snapshot, &copy).is_empty());
        prop_assert_eq!(Digests::of(&snapshot), Digests::of(&copy));
    }

    #[test]
    fn the_order_of_resources_does_not_change_the_digest(
        (ordered, shuffled) in arbitrary::snapshot()
            .prop_map(|snapshot| snapshot.resources().collect::<Vec<_>>())
            .prop_flat_map(|resources| (Just(resources.clone()), Just(resources).prop_shuffle())),
    ) {
        let sum = |resources: &[Resource]| {
            resources.iter().fold(Digest::EMPTY, |mut sum, resource| { sum += hash(resource); sum })
        };
        prop_assert_eq!(sum(&ordered), sum(&shuffled));
        let (ordered, shuffled): (Snapshot, Snapshot) = (ordered.into_iter().collect(), shuffled.into_iter().collect());
        prop_assert_eq!(Digests::of(&ordered), Digests::of(&shuffled));
    }

    #[test]
    fn a_snapshot_arrives_as_it_was_sent_however_it_is_cut(
        snapshot in arbitrary::snapshot().prop_filter("a resource fits a message", small_enough),
        small in any::<bool>(),
    ) {
        let limits = if small { SMALL } else { Limits::default() };
        let digests = Digests::of(&snapshot);
        let mut assembler = Assembler::new(limits);
        let update = receive(&mut assembler, snapshot_messages(FIRST, &snapshot, digests, &limits)).unwrap();
        prop_assert!(update.rejected.is_empty() && update.warnings.is_empty());
        prop_assert_eq!((update.version, update.digests), (FIRST, digests));
        prop_assert_eq!(assembler.held(), Some(state(FIRST, &snapshot)));
        prop_assert_eq!(Assembler::resume(limits, FIRST, &snapshot).held(), assembler.held());
        prop_assert!(matches!(update.kind, Kind::Snapshot(arrived) if arrived == snapshot));
    }

    #[test]
    fn a_delta_leads_a_reader_from_one_snapshot_to_the_other(
        from in arbitrary::snapshot().prop_filter("a resource fits a message", small_enough),
        to in arbitrary::snapshot().prop_filter("a resource fits a message", small_enough),
        small in any::<bool>(),
    ) {
        let limits = if small { SMALL } else { Limits::default() };
        let mut assembler = reader(&from, limits);
        let messages = delta_messages(state(FIRST, &from), state(SECOND, &to), &diff(&from, &to), &limits);
        let update = receive(&mut assembler, messages).unwrap();
        prop_assert!(update.rejected.is_empty());
        prop_assert_eq!(assembler.held(), Some(state(SECOND, &to)));
        let mut applied = from.clone();
        applied.apply(update.kind.into_delta(&from));
        prop_assert_eq!(applied, to);
    }

    #[test]
    fn one_lane_is_replaced_without_touching_the_other(
        from in arbitrary::snapshot(),
        to in arbitrary::snapshot(),
        config in any::<bool>(),
    ) {
        let mut expected = from.clone();
        let (lane, version) = if config {
            expected.config = to.config.clone();
            (Lane::Config, SECOND)
        } else {
            expected.live = to.live.clone();
            (Lane::Live, FIRST)
        };
        let limits = Limits::default();
        let mut assembler = reader(&from, limits);
        let messages = lane_snapshot_messages(version, &to, Digests::of(&to), &limits, &[lane]);
        let update = receive(&mut assembler, messages).unwrap();
        prop_assert_eq!(assembler.held(), Some(state(version, &expected)));
        let mut applied = from.clone();
        applied.apply(update.kind.into_delta(&from));
        prop_assert_eq!(applied, expected);
    }

    #[test]
    fn one_corrupted_resource_rejects_only_itself(
        snapshot in arbitrary::snapshot(),
        resource in arbitrary::resource(),
        at in any::<proptest::sample::Index>(),
        flip in 1..=u8::MAX,
    ) {
        let mut rest = snapshot;
        rest.remove(&resource.key());
        let Resource::Route(_) = resource else { return Ok(()) };
        let mut corrupted = encode(&resource).encode_to_vec();
        let key_end = 2 + encode_key(&resource.key()).encoded_len();
        let at = key_end + at.index(corrupted.len() - key_end);
        corrupted[at] ^= flip;
        // What the flip made may be a valid resource as well: then nothing is rejected.
        let parsed = proto::Resource::decode(&*corrupted).ok().and_then(|message| decode(message).ok());
        let (update, held) = send_config(&rest, &resource.key(), corrupted);
        let Kind::Snapshot(arrived) = update.kind else { panic!("a snapshot was sent") };
        let mut others = arrived;
        let taken = others.remove(&resource.key());
        prop_assert_eq!(&others.config, &rest.config);
        match taken {
            Some(taken) => prop_assert!(parsed == Some(taken) || !update.warnings.is_empty()),
            None => {
                prop_assert_eq!(update.rejected.len(), 1);
                prop_assert_eq!(update.rejected[0].key.as_ref(), Some(&resource.key()));
                prop_assert_eq!(held.config, Digests::of(&rest).config, "what was rejected is not claimed");
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let mut assembler = Assembler::new(Limits::default());
        prop_assert!(assembler.receive(&bytes).is_err());
        let mut message = vec![8, 1];
        message.extend(&bytes);
        let _ = assembler.receive(&message);
        let _ = portcullis_wire::ClientMessage::decode(&message);
    }

    #[test]
    fn a_damaged_message_is_refused_or_changes_what_it_says(
        from in arbitrary::snapshot(),
        to in arbitrary::snapshot(),
        at in any::<proptest::sample::Index>(),
        flip in 1..=u8::MAX,
    ) {
        let limits = Limits::default();
        let mut assembler = reader(&from, limits);
        let before = assembler.held();
        for message in delta_messages(state(FIRST, &from), state(SECOND, &to), &diff(&from, &to), &limits) {
            let mut bytes = message.into_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if assembler.receive(&bytes).is_err() {
                prop_assert_eq!(assembler.held(), before, "a refusal changes nothing");
                break;
            }
        }
    }

    #[test]
    fn one_edited_route_is_at_most_4_kib_on_the_wire(snapshot in arbitrary::snapshot(), route in arbitrary::route()) {
        let mut edited = snapshot.clone();
        edited.insert(Resource::Route(route.into()));
        let delta = diff(&snapshot, &edited);
        let messages = delta_messages(state(FIRST, &snapshot), state(SECOND, &edited), &delta, &Limits::default());
        let bytes: usize = messages.iter().map(|message| message.encode_to_vec().len()).sum();
        prop_assert!(bytes <= 4096, "{} bytes", bytes);
    }
}

/// Sends the config lane of `rest` and one more encoded resource, with a digest that fits what is sent.
fn send_config(rest: &Snapshot, key: &ResourceKey, extra: Vec<u8>) -> (Update, Digests) {
    let mut resources: Vec<Encoded> = rest
        .resources()
        .filter(|resource| !resource.key().is_live())
        .map(|resource| Encoded(encode(&resource).encode_to_vec()))
        .collect();
    assert!(!key.is_live());
    resources.push(Encoded(extra));
    let mut digest = Digest::EMPTY;
    for Encoded(bytes) in &resources {
        digest += Digest::from_bits(xxhash_rust::xxh3::xxh3_128(bytes));
    }
    let config = ConfigTarget { version: FIRST.number, digest };
    let head = SnapshotHead { epoch: FIRST.epoch, config: Some(config), live: Some(Digest::EMPTY), parts: 1 };
    let mut assembler = Assembler::new(Limits::default());
    let message = ServerMessage::Snapshot(SnapshotPart { head, part: 0, lane: Lane::Config, resources });
    let update = receive(&mut assembler, vec![message]).unwrap();
    let held = assembler.held().unwrap().digests;
    (update, held)
}

#[test]
fn a_digest_that_does_not_fit_refuses_the_whole_update() {
    let snapshot: Snapshot = some_resources().into_iter().collect();
    let mut wrong = Digests::of(&snapshot);
    wrong.config += Digest::from_bits(1);
    let mut assembler = Assembler::new(Limits::default());
    let messages = snapshot_messages(FIRST, &snapshot, wrong, &Limits::default());
    let refused = messages.into_iter().find_map(|message| assembler.push(message).err()).unwrap();
    assert_eq!(refused.version, Some(FIRST));
    assert!(matches!(refused.refusal, Refusal::Digest { lane: Lane::Config, .. }));
    assert_eq!(assembler.held(), None);
}

#[test]
fn a_resource_beyond_its_bound_is_rejected_alone() {
    let resources = some_resources();
    let largest = resources.iter().map(|resource| encode(resource).encoded_len()).max().unwrap();
    let snapshot: Snapshot = resources.into_iter().collect();
    let limits = Limits { max_resource: largest - 1, ..Limits::default() };
    let mut assembler = Assembler::new(limits);
    let messages = snapshot_messages(FIRST, &snapshot, Digests::of(&snapshot), &limits);
    let update = receive(&mut assembler, messages).unwrap();
    let codes: BTreeSet<_> = update.rejected.iter().map(|rejection| format!("{:?}", rejection.code)).collect();
    assert_eq!(codes, BTreeSet::from([format!("{:?}", RejectionCode::TooLarge)]));
    let Kind::Snapshot(arrived) = update.kind else { panic!("a snapshot was sent") };
    assert_eq!(arrived.resources().count() + update.rejected.len(), snapshot.resources().count());
}

fn some_resources() -> Vec<Resource> {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    (0..20).map(|_| arbitrary::resource().new_tree(&mut runner).unwrap().current()).collect()
}
