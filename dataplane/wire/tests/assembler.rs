//! Stories of a reader: what it takes, in which order, and what it holds afterwards.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use portcullis_ir::{
    BackendKey, Change, Delta, Digest, Endpoint, Endpoints, GatewayKey, HostPattern, Listener, ListenerKey,
    ListenerProtocol, Resource, Snapshot,
};
use portcullis_wire::{
    Assembler, ClientMessage, Digests, Kind, Lane, Limits, Observe, Received, Refusal, Refused, ServerMessage, State,
    Update, Version, answer, delta_messages, diff, lane_snapshot_messages, snapshot_messages,
};

fn version(number: u64) -> Version {
    Version { epoch: 1, number }
}

fn listener(name: &str, port: u16) -> Resource {
    Resource::Listener(Arc::new(Listener {
        key: ListenerKey::new(GatewayKey::new("default", "edge"), name),
        addresses: Vec::new(),
        port,
        hostname: HostPattern::Any,
        protocol: ListenerProtocol::Http,
        proxy_protocol: false,
        limits: None,
        auth: None,
        external: Vec::new(),
    }))
}

fn endpoints(ports: &[u16]) -> Resource {
    let endpoints = ports.iter().map(|port| Endpoint { address: ([10, 0, 0, 1], *port).into(), ready: true }).collect();
    Resource::Endpoints(Arc::new(Endpoints { key: BackendKey::service("default", "shop", 80), endpoints }))
}

fn snapshot(resources: impl IntoIterator<Item = Resource>) -> Snapshot {
    resources.into_iter().collect()
}

fn state(number: u64, snapshot: &Snapshot) -> State {
    State { version: version(number), digests: Digests::of(snapshot) }
}

/// Each resource in a part of its own.
fn tiny() -> Limits {
    Limits { max_message: 300, ..Limits::default() }
}

/// A writer cuts for `tiny`; the reader takes what framing adds.
fn reader() -> Assembler {
    Assembler::new(Limits { max_message: 600, ..Limits::default() })
}

fn whole(number: u64, snapshot: &Snapshot) -> Vec<ServerMessage> {
    snapshot_messages(version(number), snapshot, Digests::of(snapshot), &tiny())
}

fn push(assembler: &mut Assembler, messages: Vec<ServerMessage>) -> Result<Option<Update>, Refused> {
    let mut update = None;
    for message in messages {
        if let Received::Update(complete) = assembler.receive(&message.into_vec())? {
            update = Some(*complete);
        }
    }
    Ok(update)
}

fn refusal(assembler: &mut Assembler, messages: Vec<ServerMessage>) -> Refusal {
    push(assembler, messages).unwrap_err().refusal
}

#[test]
fn a_reader_follows_from_nothing_through_edits_and_back() {
    let first = snapshot([listener("http", 80), endpoints(&[1])]);
    let second = snapshot([listener("http", 8080), listener("more", 81), endpoints(&[1])]);
    let mut assembler = reader();
    assert_eq!(assembler.held(), None);

    let update = push(&mut assembler, whole(1, &first)).unwrap().unwrap();
    assert!(matches!(&update.kind, Kind::Snapshot(arrived) if *arrived == first));
    assert_eq!(assembler.held(), Some(state(1, &first)));

    let forth = delta_messages(state(1, &first), state(2, &second), &diff(&first, &second), &tiny());
    let update = push(&mut assembler, forth).unwrap().unwrap();
    assert_eq!(update.version, version(2));

    // A rollback: the number falls.
    let back = delta_messages(state(2, &second), state(1, &first), &diff(&second, &first), &tiny());
    let update = push(&mut assembler, back).unwrap().unwrap();
    assert_eq!((update.version, update.digests), (version(1), Digests::of(&first)));
    assert_eq!(assembler.held(), Some(state(1, &first)));
}

#[test]
fn endpoints_move_without_a_version_and_say_nothing_of_the_config_lane() {
    let before = snapshot([listener("http", 80), endpoints(&[1])]);
    let after = snapshot([listener("http", 80), endpoints(&[1, 2])]);
    let mut assembler = reader();
    push(&mut assembler, whole(5, &before)).unwrap();
    let messages = delta_messages(state(5, &before), state(5, &after), &diff(&before, &after), &tiny());
    let [ServerMessage::Delta(part)] = &messages[..] else { panic!("one delta: {messages:?}") };
    assert_eq!((part.head.config, part.lane), (None, Lane::Live));
    let update = push(&mut assembler, messages).unwrap().unwrap();
    assert_eq!((update.version, update.digests), (version(5), Digests::of(&after)));
}

#[test]
fn nothing_to_change_is_nothing_to_say() {
    let same = snapshot([listener("http", 80)]);
    assert_eq!(delta_messages(state(1, &same), state(1, &same), &Delta::default(), &tiny()), Vec::new());
}

#[test]
fn a_version_may_move_without_a_change() {
    let same = snapshot([listener("http", 80)]);
    let mut assembler = reader();
    push(&mut assembler, whole(1, &same)).unwrap();
    let messages = delta_messages(state(1, &same), state(2, &same), &Delta::default(), &tiny());
    push(&mut assembler, messages).unwrap().unwrap();
    assert_eq!(assembler.held(), Some(state(2, &same)));
}

#[test]
fn an_update_of_both_lanes_is_taken_with_its_last_part() {
    let before = snapshot([listener("http", 80), endpoints(&[1])]);
    let after = snapshot([listener("http", 81), endpoints(&[2])]);
    let mut assembler = reader();
    push(&mut assembler, whole(1, &before)).unwrap();
    let mut messages = delta_messages(state(1, &before), state(2, &after), &diff(&before, &after), &tiny());
    let last = messages.pop().unwrap();
    assert!(!messages.is_empty());
    assert!(push(&mut assembler, messages).unwrap().is_none());
    assert_eq!(assembler.held(), Some(state(1, &before)));
    push(&mut assembler, vec![last]).unwrap().unwrap();
    assert_eq!(assembler.held(), Some(state(2, &after)));
}

#[test]
fn a_newer_update_supersedes_one_under_way() {
    let first = snapshot([listener("http", 80), endpoints(&[1])]);
    let second = snapshot([listener("http", 81), endpoints(&[1])]);
    let mut assembler = reader();
    let mut half = whole(1, &first);
    half.pop();
    push(&mut assembler, half).unwrap();
    push(&mut assembler, whole(2, &second)).unwrap().unwrap();
    assert_eq!(assembler.held(), Some(state(2, &second)));
}

#[test]
fn parts_out_of_order_are_refused_and_held_stays() {
    let first = snapshot([listener("http", 80), listener("more", 81), endpoints(&[1])]);
    let mut assembler = reader();
    push(&mut assembler, whole(1, &first)).unwrap();
    let messages = whole(2, &first);
    assert_eq!(messages.len(), 3);
    let skipped = vec![messages[0].clone(), messages[2].clone()];
    assert_eq!(refusal(&mut assembler, skipped), Refusal::Part { expected: 1, found: 2 });
    assert_eq!(refusal(&mut assembler, vec![messages[1].clone()]), Refusal::Part { expected: 0, found: 1 });
    let other = vec![messages[0].clone(), whole(3, &first)[1].clone()];
    assert_eq!(refusal(&mut assembler, other), Refusal::OtherHead);
    assert_eq!(assembler.held(), Some(state(1, &first)));
}

#[test]
fn a_delta_from_something_else_is_refused() {
    let first = snapshot([listener("http", 80), endpoints(&[1])]);
    let second = snapshot([listener("http", 81), endpoints(&[1])]);
    let third = snapshot([listener("http", 81), endpoints(&[2])]);
    let step = |from: (u64, &Snapshot), to: (u64, &Snapshot)| {
        delta_messages(state(from.0, from.1), state(to.0, to.1), &diff(from.1, to.1), &tiny())
    };
    let mut assembler = reader();
    assert_eq!(refusal(&mut assembler, step((1, &first), (2, &second))), Refusal::NothingHeld);
    push(&mut assembler, whole(1, &first)).unwrap();
    let held = version(1);
    assert_eq!(refusal(&mut assembler, step((3, &first), (4, &second))), Refusal::From { held, found: 3 });
    assert_eq!(refusal(&mut assembler, step((1, &third), (1, &second))), Refusal::LiveFrom);
    // The right base, but what it leads to does not add up: the reader has drifted.
    let drifted = snapshot([listener("http", 80), listener("lost", 82), endpoints(&[1])]);
    let edited = snapshot([listener("http", 81), listener("lost", 82), endpoints(&[1])]);
    assert!(matches!(refusal(&mut assembler, step((1, &drifted), (2, &edited))), Refusal::Digest { .. }));
    let mut other_epoch = state(1, &first);
    other_epoch.version.epoch = 2;
    let mut to = state(2, &second);
    to.version.epoch = 2;
    let messages = delta_messages(other_epoch, to, &diff(&first, &second), &tiny());
    assert_eq!(refusal(&mut assembler, messages), Refusal::Epoch { held, found: 2 });
    assert_eq!(assembler.held(), Some(state(1, &first)));
    // And the refusals did it no harm.
    push(&mut assembler, step((1, &first), (2, &second))).unwrap().unwrap();
}

#[test]
fn a_delta_from_a_digest_leads_into_another_epoch() {
    let before = snapshot([listener("a", 80), endpoints(&[1])]);
    let there =
        |number, snapshot: &Snapshot| State { version: Version { epoch: 2, number }, digests: Digests::of(snapshot) };
    let mut assembler = reader();
    push(&mut assembler, whole(7, &before)).unwrap();

    // The live lane alone changes, and the version goes on all the same.
    let moved = snapshot([listener("a", 80), endpoints(&[2])]);
    let step = delta_messages(state(7, &before), there(1, &moved), &diff(&before, &moved), &tiny());
    push(&mut assembler, step).unwrap().unwrap();
    assert_eq!(assembler.held(), Some(there(1, &moved)));

    // Back in the first epoch, from a config lane that is not held any more.
    let edited = snapshot([listener("a", 81), endpoints(&[2])]);
    let step = delta_messages(there(1, &moved), there(2, &edited), &diff(&moved, &edited), &tiny());
    push(&mut assembler, step).unwrap().unwrap();
    let step = delta_messages(there(1, &moved), state(8, &before), &diff(&moved, &before), &tiny());
    assert_eq!(refusal(&mut assembler, step), Refusal::ConfigFrom);
    assert_eq!(assembler.held(), Some(there(2, &edited)));
}

#[test]
fn one_lane_alone_needs_the_other_to_be_held() {
    let first = snapshot([listener("http", 80), endpoints(&[1])]);
    let live = |number| lane_snapshot_messages(version(number), &first, Digests::of(&first), &tiny(), &[Lane::Live]);
    let mut assembler = reader();
    assert_eq!(refusal(&mut assembler, live(1)), Refusal::NothingHeld);
    push(&mut assembler, whole(1, &first)).unwrap();
    assert!(matches!(push(&mut assembler, live(1)).unwrap().unwrap().kind, Kind::Live(_)));
}

#[test]
fn a_key_that_occurs_twice_refuses_the_update() {
    let (a, b) = (listener("http", 80), listener("http", 81));
    let mut messages = whole(1, &snapshot([a]));
    if let ServerMessage::Snapshot(part) = &mut messages[0] {
        part.resources.push(portcullis_wire::Encoded(prost::Message::encode_to_vec(&portcullis_wire::encode(&b))));
    }
    assert_eq!(refusal(&mut reader(), messages), Refusal::Twice);
}

#[test]
fn a_resource_in_the_wrong_lane_is_rejected() {
    let only = endpoints(&[1]);
    let mut digests = Digests::of(&snapshot([only.clone()]));
    std::mem::swap(&mut digests.config, &mut digests.live);
    let mut messages = snapshot_messages(version(1), &snapshot([only]), digests, &tiny());
    for message in &mut messages {
        if let ServerMessage::Snapshot(part) = message {
            part.lane = match part.lane {
                Lane::Config => Lane::Live,
                Lane::Live => Lane::Config,
            };
        }
    }
    let update = push(&mut reader(), messages).unwrap().unwrap();
    assert_eq!(update.rejected.len(), 1);
    assert!(update.rejected[0].message.contains("other lane"), "{:?}", update.rejected);
    assert_eq!(update.digests.config, Digest::EMPTY);
}

#[test]
fn more_than_the_limits_allow_is_refused() {
    let many = snapshot((1..=20).map(|port| listener(&format!("l{port}"), port)));
    let send = |limits: Limits| {
        let messages = snapshot_messages(version(1), &many, Digests::of(&many), &tiny());
        refusal(&mut Assembler::new(limits), messages)
    };
    let limits = Limits { max_resources: 19, ..Limits::default() };
    assert_eq!(send(limits), Refusal::TooManyResources { max: 19 });
    let limits = Limits { max_update: 100, ..Limits::default() };
    assert_eq!(send(limits), Refusal::TooManyBytes { max: 100 });
}

#[test]
fn deltas_cannot_grow_what_is_held_beyond_the_limits() {
    let first = snapshot((1..=3).map(|port| listener(&format!("l{port}"), port)));
    let second = snapshot((1..=6).map(|port| listener(&format!("l{port}"), port)));
    let limits = Limits { max_resources: 5, ..Limits::default() };
    let mut assembler = Assembler::new(limits);
    push(&mut assembler, whole(1, &first)).unwrap();
    let messages = delta_messages(state(1, &first), state(2, &second), &diff(&first, &second), &tiny());
    assert_eq!(refusal(&mut assembler, messages), Refusal::TooManyResources { max: 5 });
}

#[test]
fn what_a_data_plane_cannot_use_is_not_claimed_until_it_is_sent_anew() {
    let first = snapshot([listener("http", 80), listener("taken", 81)]);
    let mut assembler = reader();
    push(&mut assembler, whole(1, &first)).unwrap();
    assembler.disclaim(&listener("taken", 81).key());
    assert_eq!(assembler.held(), Some(state(1, &snapshot([listener("http", 80)]))));

    let second = snapshot([listener("http", 80), listener("taken", 82)]);
    let messages = delta_messages(state(1, &first), state(2, &second), &diff(&first, &second), &tiny());
    push(&mut assembler, messages).unwrap().unwrap();
    assert_eq!(assembler.held(), Some(state(2, &second)));
}

#[test]
fn a_delta_says_what_changed_whichever_way_it_came() {
    let first = snapshot([listener("http", 80), endpoints(&[1])]);
    let second = snapshot([listener("http", 81), endpoints(&[1])]);
    let mut assembler = reader();
    push(&mut assembler, whole(1, &first)).unwrap();
    let update = push(&mut assembler, whole(2, &second)).unwrap().unwrap();
    let mut held = first.clone();
    let changes = held.apply(update.kind.into_delta(&first));
    assert_eq!(changes, [Change { before: Some(listener("http", 80)), after: Some(listener("http", 81)) }]);
}

#[test]
fn an_observation_is_passed_on() {
    let observe = Observe { resources: Vec::new(), interval_milliseconds: 1000 };
    let received = reader().push(ServerMessage::Observe(observe.clone())).unwrap();
    assert!(matches!(received, Received::Observe(received) if received == observe));
}

#[test]
fn answers_say_what_is_held() {
    let first = snapshot([listener("http", 80)]);
    let held = state(1, &first);
    assert!(matches!(answer(held, Vec::new(), Vec::new()), ClientMessage::Ack(ack) if ack.held == held));
    let refused = reader().receive(&[8, 9]).unwrap_err();
    let ClientMessage::Nack(nack) = refused.answer(Some(held)) else { panic!("a refusal is a nack") };
    assert_eq!((nack.version, nack.held), (None, Some(held)));
    assert!(nack.message.contains("schema 9"), "{}", nack.message);
}
