//! B7 without sockets: what a one-route change costs a data plane that holds so many routes. Run under cachegrind with K
//! and with 5K changes; what is counted is encoding the message, and all that the data plane does with it (decode,
//! check the digest, apply, compile, publish).

use std::sync::Arc;

use anyhow::ensure;
use portcullis_dataplane::bench::ApplyBench;
use portcullis_ir::{Delta, Resource};
use portcullis_wire::{Digests, Limits, State, Version, delta_messages, snapshot_messages};

use crate::ours;

const EPOCH: u64 = 1;

/// Moves the last route away and back, `changes` times in all. Returns the bytes on the wire of one change.
pub fn run(routes: usize, changes: usize) -> anyhow::Result<usize> {
    let limits = Limits::default();
    let address = ([127, 0, 0, 1], 80).into();
    let before = ours::snapshot(address, address, Some(routes));
    let versions = [ours::unedited(routes), ours::edited(routes)].map(|route| Resource::Route(Arc::new(route)));
    let mut after = before.clone();
    after.insert(versions[1].clone());
    let digests = [Digests::of(&before), Digests::of(&after)];

    let mut bench = ApplyBench::new(1)?;
    let first = snapshot_messages(Version { epoch: EPOCH, number: 0 }, &before, digests[0], &limits);
    let first: Vec<Vec<u8>> = first.iter().map(portcullis_wire::ServerMessage::encode_to_vec).collect();
    ensure!(bench.apply(&first)? == 1, "the first snapshot was not applied");
    drop((before, after));

    let mut bytes = 0;
    for number in 0..changes {
        let state = |number: usize| {
            anyhow::Ok(State {
                version: Version { epoch: EPOCH, number: u64::try_from(number)? },
                digests: digests[number % 2],
            })
        };
        let delta = Delta { upserts: vec![versions[(number + 1) % 2].clone()], removals: Vec::new() };
        let messages = delta_messages(state(number)?, state(number + 1)?, &delta, &limits);
        let messages: Vec<Vec<u8>> = messages.iter().map(portcullis_wire::ServerMessage::encode_to_vec).collect();
        bytes = bytes.max(messages.iter().map(Vec::len).sum());
        ensure!(bench.apply(&messages)? == 1, "change {number} was not applied");
    }
    ensure!(bench.snapshot().config.routes.len() == routes, "a route is lost");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_change_is_one_small_message_whatever_the_number_of_routes() {
        let (few, many) = (super::run(10, 4).unwrap(), super::run(500, 4).unwrap());
        assert!(many < 1024 && many.abs_diff(few) < 8, "{few} and {many} bytes");
    }
}
