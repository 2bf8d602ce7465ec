//! Whatever bytes arrive: no panic, a refusal changes nothing, and what was taken adds up.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use portcullis_ir::{
    BackendKey, Digest, Endpoint, Endpoints, GatewayKey, HostPattern, Listener, ListenerKey, ListenerProtocol,
    Resource, Snapshot,
};
use portcullis_wire::{
    Assembler, ClientMessage, Digests, Encoded, Lane, Limits, Received, ServerMessage, Version, encode, encode_key,
    proto,
};
use prost::Message;
use xxhash_rust::xxh3::xxh3_128;

const HELD: Version = Version { epoch: 1, number: 1 };

fuzz_target!(|data: &[u8]| {
    let Some((&mode, rest)) = data.split_first() else { return };
    match mode {
        // Messages as they come.
        0 => Reader::new().receive_all(rest, |message| Some(message.to_vec())),
        // The same with digests that fit, so that what lies behind the digest is reached.
        1 => Reader::new().receive_all(rest, |message| Some(with_fitting_digests(message)?.into_vec())),
        _ => what_decodes_is_encoded_the_same(rest),
    }
});

/// A reader that holds a little.
struct Reader {
    assembler: Assembler,
    held: Snapshot,
}

impl Reader {
    fn new() -> Self {
        let held = small_snapshot();
        Self { assembler: Assembler::resume(Limits::default(), HELD, &held), held }
    }

    /// Each message stands behind its length in two bytes.
    fn receive_all(mut self, mut rest: &[u8], prepare: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        while let Some((length, tail)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length)).min(tail.len());
            let (message, tail) = tail.split_at(length);
            rest = tail;
            let Some(message) = prepare(message) else { continue };
            let before = self.assembler.held();
            match self.assembler.receive(&message) {
                Ok(Received::Update(update)) => {
                    let clean = update.rejected.is_empty() && update.warnings.is_empty();
                    let claimed = update.digests;
                    assert_eq!(self.assembler.held().map(|held| held.digests), Some(claimed));
                    let delta = update.kind.into_delta(&self.held);
                    self.held.apply(delta);
                    if !clean {
                        return;
                    }
                    assert_eq!(claimed, Digests::of(&self.held), "what is claimed is what is held");
                }
                Ok(Received::More | Received::Observe(_)) | Err(_) => {
                    assert_eq!(self.assembler.held(), before, "only an update changes what is held");
                }
            }
        }
    }
}

fn small_snapshot() -> Snapshot {
    let listener = Listener {
        key: ListenerKey::new(GatewayKey::new("default", "edge"), "http"),
        addresses: Vec::new(),
        port: 80,
        hostname: HostPattern::Any,
        protocol: ListenerProtocol::Http,
        proxy_protocol: false,
        limits: None,
        auth: None,
        external: Vec::new(),
    };
    let endpoint = Endpoint { address: ([10, 0, 0, 1], 80).into(), ready: true };
    let endpoints = Endpoints { key: BackendKey::service("default", "shop", 80), endpoints: vec![endpoint] };
    [Resource::Listener(Arc::new(listener)), Resource::Endpoints(Arc::new(endpoints))].into_iter().collect()
}

/// The message as the first part of one, with the digests that its content adds up to from [`small_snapshot`].
fn with_fitting_digests(message: &[u8]) -> Option<ServerMessage> {
    let mut message = ServerMessage::decode(message).ok()?;
    let none = Vec::new();
    match &mut message {
        ServerMessage::Snapshot(part) => {
            let digest = sum(BTreeMap::new(), &part.resources, &none);
            (part.part, part.head.parts) = (0, 1);
            if let Some(target) = &mut part.head.config {
                target.digest = if part.lane == Lane::Config { digest } else { Digest::EMPTY };
            }
            if let Some(live) = &mut part.head.live {
                *live = if part.lane == Lane::Live { digest } else { Digest::EMPTY };
            }
        }
        ServerMessage::Delta(part) => {
            let (config, live) = (base(Lane::Config), base(Lane::Live));
            let changed = sum(base(part.lane), &part.upserts, &part.removals);
            let after = |lane, base| if part.lane == lane { changed } else { sum(base, &none, &none) };
            (part.part, part.head.parts, part.head.epoch) = (0, 1, HELD.epoch);
            if let Some(step) = &mut part.head.config {
                (step.from, step.digest) = (HELD.number, after(Lane::Config, config));
            }
            if let Some(step) = &mut part.head.live {
                (step.from, step.to) = (sum(live.clone(), &none, &none), after(Lane::Live, live));
            }
        }
        ServerMessage::Observe(_) => {}
    }
    Some(message)
}

/// Hashes by encoded key.
fn base(lane: Lane) -> BTreeMap<Vec<u8>, Digest> {
    let resources = small_snapshot();
    let resources = resources.resources().filter(|resource| Lane::of(&resource.key()) == lane);
    resources
        .map(|resource| (encode_key(&resource.key()).encode_to_vec(), hash(&encode(&resource).encode_to_vec())))
        .collect()
}

fn sum(mut hashes: BTreeMap<Vec<u8>, Digest>, upserts: &[Encoded], removals: &[Encoded]) -> Digest {
    for Encoded(bytes) in upserts {
        let key = proto::Resource::decode(&**bytes).ok().and_then(|resource| resource.key);
        let key = key.map_or_else(|| bytes.clone(), |key| key.encode_to_vec());
        hashes.insert(key, hash(bytes));
    }
    for Encoded(key) in removals {
        hashes.remove(key);
    }
    hashes.into_values().fold(Digest::EMPTY, |mut sum, digest| {
        sum += digest;
        sum
    })
}

fn hash(bytes: &[u8]) -> Digest {
    Digest::from_bits(xxh3_128(bytes))
}

fn what_decodes_is_encoded_the_same(bytes: &[u8]) {
    if let Ok(resource) = proto::Resource::decode(bytes)
        && let Ok(resource) = portcullis_wire::decode(resource)
    {
        assert_eq!(portcullis_wire::decode(encode(&resource)).as_ref(), Ok(&resource));
    }
    if let Ok(message) = ServerMessage::decode(bytes) {
        assert_eq!(ServerMessage::decode(&message.encode_to_vec()).as_ref(), Ok(&message));
    }
    if let Ok(message) = ClientMessage::decode(bytes) {
        assert_eq!(ClientMessage::decode(&message.encode_to_vec()).as_ref(), Ok(&message));
    }
}
