//! What the data plane said last, so that each stream can begin with it.

use portcullis_wire::{Ack, ClientMessage, Hello, Nack, State};
use tokio::sync::mpsc;

#[derive(Debug, Default)]
pub(super) struct Memory {
    begun: bool,
    held: Option<State>,
    /// The last word on what is in force. Each answer says everything, so the last one is enough.
    answer: Option<Vec<u8>>,
}

impl Memory {
    /// Whether the data plane has said what it holds.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn held(&self) -> Option<State> {
        self.held
    }

    pub(super) fn answer(&self) -> Option<&[u8]> {
        self.answer.as_deref()
    }

    pub(super) fn observe(&mut self, message: &[u8]) {
        match ClientMessage::decode(message) {
            Ok(ClientMessage::Hello(Hello { held, .. })) => (self.begun, self.held) = (true, held),
            Ok(ClientMessage::Ack(Ack { held, .. })) => {
                self.held = Some(held);
                self.answer = Some(message.to_vec());
            }
            Ok(ClientMessage::Nack(Nack { held, message: why, .. })) => {
                self.held = held;
                // A refused update says nothing about the one that is in force.
                if why.is_empty() {
                    self.answer = Some(message.to_vec());
                }
            }
            Ok(ClientMessage::Health(_) | ClientMessage::Wanted(_)) => {}
            // It was encoded by this very process.
            Err(error) => tracing::error!(%error, "an answer of our own is not understood"),
        }
    }

    /// Waits for `event`, and meanwhile takes in what nobody else reads. None: the data plane has ended.
    pub(super) async fn listen_during<T>(
        &mut self,
        event: impl Future<Output = T>,
        answers: &mut mpsc::Receiver<Vec<u8>>,
    ) -> Option<T> {
        tokio::pin!(event);
        loop {
            tokio::select! {
                happened = &mut event => return Some(happened),
                message = answers.recv() => self.observe(&message?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_ir::{Digest, GatewayKey};
    use portcullis_wire::{Digests, Version};

    use super::*;

    fn state(number: u64) -> State {
        let digests = Digests { config: Digest::from_bits(number.into()), live: Digest::EMPTY };
        State { version: Version { epoch: 1, number }, digests }
    }

    #[test]
    fn the_last_answer_is_kept_and_a_refusal_is_not_one() {
        let mut memory = Memory::default();
        let hello = Hello { node: "a".to_owned(), gateway: GatewayKey::new("a", "b"), held: Some(state(1)) };
        memory.observe(&ClientMessage::Hello(hello).encode_to_vec());
        assert!(memory.has_begun());
        assert_eq!((memory.held(), memory.answer()), (Some(state(1)), None));
        let ack = ClientMessage::Ack(Ack { held: state(2), warnings: Vec::new() }).encode_to_vec();
        memory.observe(&ack);
        let nack = Nack {
            version: Some(state(3).version),
            held: Some(state(2)),
            rejected: Vec::new(),
            warnings: Vec::new(),
            message: "no".to_owned(),
        };
        memory.observe(&ClientMessage::Nack(nack).encode_to_vec());
        assert_eq!((memory.held(), memory.answer()), (Some(state(2)), Some(&ack[..])));
    }
}
