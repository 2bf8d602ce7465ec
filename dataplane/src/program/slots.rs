//! Dense numbers for backends, given and taken back.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use portcullis_ir::BackendKey;

use super::{BackendSlot, Program};

/// A slot lives as long as a rule or a backend resource names its key. Freed, it rests until every program that knew
/// its former owner is gone: a request that still runs by an old program never meets another backend in it.
#[derive(Debug, Default)]
pub(super) struct Slots {
    owners: HashMap<BackendKey, Owner>,
    length: u32,
    free: Vec<BackendSlot>,
    /// With the number of the first program without the former owner.
    resting: Vec<(u64, BackendSlot)>,
    programs: Vec<(u64, Weak<Program>)>,
    next_program: u64,
}

#[derive(Debug)]
struct Owner {
    slot: BackendSlot,
    references: u32,
}

impl Slots {
    pub(super) fn get(&self, key: &BackendKey) -> Option<BackendSlot> {
        self.owners.get(key).map(|owner| owner.slot)
    }

    /// One more reference to the key; gives it a slot if it has none.
    pub(super) fn acquire(&mut self, key: &BackendKey) -> BackendSlot {
        if let Some(owner) = self.owners.get_mut(key) {
            owner.references += 1;
            return owner.slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.length += 1;
            BackendSlot(self.length - 1)
        });
        self.owners.insert(key.clone(), Owner { slot, references: 1 });
        slot
    }

    /// One reference less; returns the slot if that was the last one, to be emptied by the caller.
    pub(super) fn release(&mut self, key: &BackendKey) -> Option<BackendSlot> {
        let owner = self.owners.get_mut(key)?;
        owner.references -= 1;
        if owner.references > 0 {
            return None;
        }
        let slot = owner.slot;
        self.owners.remove(key);
        self.resting.push((self.next_program, slot));
        Some(slot)
    }

    /// Takes note of a program, and frees what no living program remembers.
    pub(super) fn published(&mut self, program: &Arc<Program>) {
        self.programs.retain(|(_, program)| program.strong_count() > 0);
        let oldest = self.programs.first().map_or(self.next_program, |(number, _)| *number);
        self.programs.push((self.next_program, Arc::downgrade(program)));
        self.next_program += 1;
        let free = &mut self.free;
        self.resting.retain(|(without, slot)| {
            let forgotten = oldest >= *without;
            if forgotten {
                free.push(*slot);
            }
            !forgotten
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn key(name: &str) -> BackendKey {
        BackendKey::service("ns", name, 80)
    }

    #[test]
    fn a_slot_stays_while_anything_names_its_key() {
        let mut slots = Slots::default();
        let slot = slots.acquire(&key("a"));
        assert_eq!(slots.acquire(&key("a")), slot);
        assert_eq!(slots.release(&key("a")), None);
        assert_eq!(slots.get(&key("a")), Some(slot));
        assert_eq!(slots.release(&key("a")), Some(slot));
        assert_eq!(slots.get(&key("a")), None);
    }

    #[test]
    fn a_freed_slot_rests_until_every_program_that_knew_its_owner_is_gone() {
        let mut slots = Slots::default();
        let slot = slots.acquire(&key("a"));
        let knowing = Arc::new(Program::default());
        slots.published(&knowing);

        slots.release(&key("a"));
        let current = Arc::new(Program::default());
        slots.published(&current);
        assert_ne!(slots.acquire(&key("b")), slot, "a request may still run by the first program");

        drop(knowing);
        let next = Arc::new(Program::default());
        slots.published(&next);
        assert_eq!(slots.acquire(&key("c")), slot);
    }
}
