//! Writes the seeds that lie in `seeds/`: run it from this folder after a change of the messages or of the world.
//!
//! ```text
//! cargo run --example seeds
//! ```

use std::error::Error;
use std::fs;
use std::path::Path;

use portcullis_ir::{Snapshot, arbitrary};
use portcullis_wire::{
    Ack, ClientMessage, Digests, Limits, ServerMessage, State, Version, delta_messages, diff, encode, snapshot_messages,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let mut runner = TestRunner::deterministic();
    let strategy = proptest::collection::vec(arbitrary::resource(), 6)
        .prop_map(|resources| resources.into_iter().collect::<Snapshot>());
    let mut sample = || strategy.new_tree(&mut runner).map(|tree| tree.current()).map_err(|error| error.to_string());
    let (from, to) = (sample()?, sample()?);
    let state =
        |number, snapshot: &Snapshot| State { version: Version { epoch: 1, number }, digests: Digests::of(snapshot) };
    let snapshot = snapshot_messages(state(1, &from).version, &from, Digests::of(&from), &Limits::default());
    let delta = delta_messages(state(1, &from), state(2, &to), &diff(&from, &to), &Limits::default());

    let wire = Path::new("seeds/wire_decode");
    fs::write(wire.join("stream"), stream(0, snapshot.iter().chain(&delta)))?;
    fs::write(wire.join("snapshot"), stream(1, snapshot.iter()))?;
    fs::write(wire.join("delta"), stream(1, delta.iter()))?;
    for resource in from.resources().chain(to.resources()) {
        let name = resource.key().to_string().split(' ').next().unwrap_or("resource").to_owned();
        fs::write(wire.join(name), prefixed(2, encode(&resource).encode_to_vec()))?;
    }
    let ack = ClientMessage::Ack(Ack { held: state(2, &to), warnings: Vec::new() });
    fs::write(wire.join("ack"), prefixed(2, ack.encode_to_vec()))?;

    let router = Path::new("seeds/router_find");
    for (name, size, seed) in [("few", 8, 1), ("more", 32, 2), ("many", 63, 3)] {
        fs::write(router.join(name), prefixed(size, choices(seed, 1024)))?;
    }
    Ok(())
}

fn stream<'a>(mode: u8, messages: impl Iterator<Item = &'a ServerMessage>) -> Vec<u8> {
    let mut bytes = vec![mode];
    for message in messages.map(ServerMessage::encode_to_vec) {
        // Far below 64 KiB: six resources each.
        bytes.extend(u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(message);
    }
    bytes
}

fn prefixed(first: u8, rest: Vec<u8>) -> Vec<u8> {
    [vec![first], rest].concat()
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn choices(mut seed: u64, length: usize) -> Vec<u8> {
    let next = || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_be_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}
