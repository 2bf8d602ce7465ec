//! B7 without sockets: what a one-route change costs a data plane that holds so many routes. Run under cachegrind with K
//! and with 5K changes; what is counted is encoding the message, and all that the data plane does with it (decode,
//! check the digest, apply, compile, publish).

use std::sync::Arc;

use anyhow::ensure;
use portcullis_dataplane::bench::ApplyBench;
use portcullis_ir::{Change, Delta, Resource};
use portcullis_wire::{Digests, Limits, ServerMessage, State, Version, delta_messages, snapshot_messages};

use crate::ours;

const EPOCH: u64 = 1;

/// Routes that are moved in turn, spread over the table: a hash table's shape differs from run to run, and with it what one
/// route costs.
const MOVED: usize = 16;

/// Moves a route to another prefix and another backend, or back again, `changes` times in all. Returns the bytes on the
/// wire of the largest change.
pub fn run(routes: usize, changes: usize) -> anyhow::Result<usize> {
    let limits = Limits::default();
    let address = ([127, 0, 0, 1], 80).into();
    let snapshot = ours::snapshot(address, address, Some(routes));
    let digests = Digests::of(&snapshot);
    let moves: Vec<Move> = (1..=MOVED).map(|part| Move::of((routes * part).div_ceil(MOVED), digests)).collect();

    let mut bench = ApplyBench::new(1)?;
    let first = snapshot_messages(Version { epoch: EPOCH, number: 0 }, &snapshot, digests, &limits);
    ensure!(bench.apply(&encoded(&first))? == 1, "the first snapshot was not applied");
    drop(snapshot);

    let mut bytes = 0;
    for number in 0..changes {
        let there = &moves[number / 2 % MOVED];
        let (from, to, route) = if number.is_multiple_of(2) {
            (digests, there.digests, &there.edited)
        } else {
            (there.digests, digests, &there.unedited)
        };
        let state = |number: usize, digests| {
            anyhow::Ok(State { version: Version { epoch: EPOCH, number: u64::try_from(number)? }, digests })
        };
        let delta = Delta { upserts: vec![route.clone()], removals: Vec::new() };
        let messages = encoded(&delta_messages(state(number, from)?, state(number + 1, to)?, &delta, &limits));
        bytes = bytes.max(messages.iter().map(Vec::len).sum());
        ensure!(bench.apply(&messages)? == 1, "change {number} was not applied");
    }
    ensure!(bench.snapshot().config.routes.len() == routes, "a route is lost");
    Ok(bytes)
}

/// One route before and after its owner edits it, and the digests of everything while it is edited.
struct Move {
    unedited: Resource,
    edited: Resource,
    digests: Digests,
}

impl Move {
    fn of(number: usize, mut digests: Digests) -> Self {
        let [unedited, edited] =
            [ours::unedited(number), ours::edited(number)].map(|route| Resource::Route(Arc::new(route)));
        digests.update(&[Change { before: Some(unedited.clone()), after: Some(edited.clone()) }]);
        Self { unedited, edited, digests }
    }
}

fn encoded(messages: &[ServerMessage]) -> Vec<Vec<u8>> {
    messages.iter().map(ServerMessage::encode_to_vec).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_change_is_one_small_message_whatever_the_number_of_routes() {
        let (few, many) = (super::run(10, 4).unwrap(), super::run(500, 4).unwrap());
        assert!(many < 1024 && many.abs_diff(few) < 8, "{few} and {many} bytes");
    }
}
