//! Book, session and reader together, without a socket: whatever happens, the reader ends with its target, and deltas
//! lead where snapshots lead.

use std::sync::Arc;

use portcullis_ir::{BackendKey, Digest, Endpoint, Endpoints, GatewayKey, HostPattern, Listener, ListenerKey};
use portcullis_ir::{ListenerProtocol, Resource, Snapshot};
use portcullis_wire::{Assembler, ClientMessage, Digests, Kind, Limits, Received, ServerMessage, Update, answer};
use proptest::prelude::*;

use crate::gate::Gate;
use crate::session::Session;

/// A data plane as far as configuration is concerned.
struct Reader {
    assembler: Assembler,
    snapshot: Snapshot,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Listener(u8, u16),
    Endpoints(u8, u16),
    /// The book sees the world as it is.
    Publish,
    /// The reader's version from now on; 0: the newest.
    Select(u64),
    /// One update goes over, and its answer back.
    Exchange,
    /// A new stream.
    Reconnect,
    /// To another book, which may count otherwise.
    Change,
    /// The reader loses everything.
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4_u8, 0..3_u16).prop_map(|(name, port)| Step::Listener(name, port)),
        3 => (0..3_u8, 0..3_u16).prop_map(|(name, port)| Step::Endpoints(name, port)),
        5 => Just(Step::Publish),
        1 => (0..6_u64).prop_map(Step::Select),
        5 => Just(Step::Exchange),
        2 => Just(Step::Reconnect),
        1 => Just(Step::Change),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec(step, 0..60)
}

fn listener(name: u8, port: u16) -> Resource {
    Resource::Listener(Arc::new(Listener {
        key: ListenerKey::new(GatewayKey::new("ns", "gw"), format!("l{name}")),
        addresses: Vec::new(),
        port: 80 + port,
        hostname: HostPattern::Any,
        protocol: ListenerProtocol::Http,
        proxy_protocol: false,
        limits: None,
        auth: None,
        external: Vec::new(),
    }))
}

fn endpoints(name: u8, port: u16) -> Resource {
    let endpoint = Endpoint { address: ([10, 0, 0, name], port).into(), ready: true };
    let key = BackendKey::service("ns", format!("b{name}"), 80);
    Resource::Endpoints(Arc::new(Endpoints { key, endpoints: vec![endpoint] }))
}

impl Reader {
    fn new() -> Self {
        Self { assembler: Assembler::new(Limits::default()), snapshot: Snapshot::default() }
    }

    fn take(&mut self, messages: &[bytes::Bytes]) -> Option<ClientMessage> {
        let mut said = None;
        for message in messages {
            match self.assembler.receive(message) {
                Ok(Received::Update(update)) => {
                    let Update { kind, rejected, warnings, .. } = *update;
                    let delta = Kind::into_delta(kind, &self.snapshot);
                    self.snapshot.apply(delta);
                    said = self.assembler.held().map(|held| answer(held, rejected, warnings));
                }
                Ok(_) => {}
                Err(refused) => return Some(refused.answer(self.assembler.held())),
            }
        }
        said
    }
}

fn exchange(gate: &Gate, session: &mut Session, reader: &mut Reader) -> bool {
    let Some(update) = gate.next(session, "pod") else { return false };
    if let Some(said) = reader.take(&update.messages) {
        session.hear(said);
    }
    true
}

fn hold(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let gates = [Gate::new(1, Limits::default()), Gate::new(2, Limits::default())];
    let mut world = Snapshot::default();
    let mut reader = Reader::new();
    let mut at = 0;
    let mut session = Session::new(None);
    for step in steps {
        match step {
            Step::Listener(name, port) => put(&mut world, listener(name, port), port > 0),
            Step::Endpoints(name, port) => put(&mut world, endpoints(name, port), port > 0),
            Step::Publish => drop(gates[at].publish(&world)),
            Step::Select(0) => gates[at].select(None),
            Step::Select(number) => gates[at].select(Some(Arc::new(move |_| Some(number)))),
            Step::Exchange => drop(exchange(&gates[at], &mut session, &mut reader)),
            Step::Reconnect => session = Session::new(reader.assembler.held()),
            Step::Change => {
                at = 1 - at;
                session = Session::new(reader.assembler.held());
            }
            Step::Forget => {
                reader = Reader::new();
                session = Session::new(None);
            }
        }
    }
    gates[at].publish(&world);
    // One for what is missing; an update that was refused would need a second one.
    let mut updates = 0;
    while exchange(&gates[at], &mut session, &mut reader) {
        updates += 1;
        prop_assert!(updates <= 1, "the reader refused an update that fits what it said");
    }
    let target = gates[at].target("pod").expect("it is published");
    prop_assert_eq!(Digests::of(&reader.snapshot), target.digests);
    prop_assert_eq!(reader.assembler.held().map(|held| held.digests), Some(target.digests));
    prop_assert_eq!(&reader.snapshot.live, &world.live);
    gates[at].select(None);
    exchange(&gates[at], &mut session, &mut reader);
    prop_assert_eq!(&reader.snapshot, &world);
    Ok(())
}

fn put(world: &mut Snapshot, resource: Resource, there: bool) {
    if there {
        world.insert(resource);
    } else {
        world.remove(&resource.key());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_ends_with_its_target_after_one_update_at_most(steps in steps()) {
        hold(steps)?;
    }
}

#[test]
fn a_reader_within_the_history_is_sent_the_difference_and_one_beyond_it_everything() {
    let gate = Gate::new(1, Limits::default());
    let mut reader = Reader::new();
    let mut session = Session::new(None);
    let world = |edition| [listener(0, 1), listener(1, edition)].into_iter().collect::<Snapshot>();
    gate.publish(&world(0));
    exchange(&gate, &mut session, &mut reader);
    for edition in 1..=64 {
        gate.publish(&world(edition));
    }
    let kind = |update: &crate::gate::Update| ServerMessage::decode(&update.messages[0]).ok();
    let update = gate.next(&mut Session::new(reader.assembler.held()), "pod").expect("it is behind");
    assert!(matches!(kind(&update), Some(ServerMessage::Delta(part)) if part.upserts.len() == 1));
    gate.publish(&world(65));
    let update = gate.next(&mut Session::new(reader.assembler.held()), "pod").expect("it is behind");
    assert!(matches!(kind(&update), Some(ServerMessage::Snapshot(part)) if part.resources.len() == 2));
}

#[test]
fn pods_in_step_share_the_bytes_of_their_update() {
    let gate = Gate::new(1, Limits::default());
    gate.publish(&[listener(0, 1)].into_iter().collect());
    let updates = [(); 2].map(|()| gate.next(&mut Session::new(None), "pod").expect("it holds nothing"));
    assert!(Arc::ptr_eq(&updates[0].messages, &updates[1].messages));
    assert_ne!(updates[0].to.digests.config, Digest::EMPTY);
}
