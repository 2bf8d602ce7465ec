//! Versions: what the data plane holds, and how it gets from there to what it should hold.
//!
//! Pure: messages out, answers in. One book is one epoch; the config lane is numbered, the live lane is not.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_ir::{IssuerKey, ResourceKey, Snapshot};
use portcullis_wire::{
    Ack, ClientMessage, Digests, Limits, Nack, Rejection, ServerMessage, State, Version, Wanted, delta_messages, diff,
    preflight, snapshot_messages,
};

#[derive(Debug)]
pub struct Book {
    limits: Limits,
    /// What was sent last.
    state: State,
    current: Snapshot,
    /// Whether the data plane holds an earlier state of this book, so that a delta will do.
    follows: bool,
    /// Whether what was sent last was a whole snapshot.
    whole: bool,
    /// Resources that no data plane would take, and why; they are never sent.
    refused: BTreeMap<ResourceKey, String>,
}

/// What is to be sent for a new snapshot.
#[derive(Debug, Default)]
pub struct Edition {
    /// None if nothing changes.
    pub messages: Vec<ServerMessage>,
    /// Resources that no data plane would take, and why, as far as that is news. They are left out.
    pub refused: Vec<(ResourceKey, String)>,
}

/// What an answer came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The state that was sent last is in force, but for what is listed.
    InForce(Vec<Rejection>),
    /// About an earlier state, or nothing to do with configuration.
    Nothing,
    /// Keys of these issuers should be fetched once more.
    Wanted(BTreeSet<IssuerKey>),
    /// Refused as a whole; what to send to start anew.
    Again { why: String, messages: Vec<ServerMessage> },
    /// Refused as a whole, and a snapshot would be refused too.
    Stuck(String),
}

impl Book {
    /// `epoch` must differ from that of any earlier book whose states a data plane may hold.
    pub fn new(epoch: u64) -> Self {
        Self {
            limits: Limits::default(),
            state: State { version: Version { epoch, number: 0 }, digests: Digests::default() },
            current: Snapshot::default(),
            follows: false,
            whole: true,
            refused: BTreeMap::new(),
        }
    }

    /// What makes the data plane hold `next`.
    pub fn publish(&mut self, next: &Snapshot) -> Edition {
        let mut delta = diff(&self.current, next);
        let mut refused = Vec::new();
        delta.upserts.retain(|resource| match preflight(resource, &self.limits) {
            Ok(()) => true,
            Err(error) => {
                refused.push((resource.key(), error.to_string()));
                false
            }
        });
        self.refused.retain(|key, _| next.contains(key));
        for resource in &delta.upserts {
            self.refused.remove(&resource.key());
        }
        // Its former self must not go on being served.
        delta.removals.extend(refused.iter().map(|(key, _)| key.clone()).filter(|key| self.current.contains(key)));
        let news = refused.iter().filter(|(key, why)| self.refused.get(key) != Some(why)).cloned().collect();
        self.refused.extend(refused);
        let from = self.state;
        let changes = self.current.apply(delta.clone());
        self.state.digests.update(&changes);
        if from.digests.config != self.state.digests.config || !self.follows {
            self.state.version.number += 1;
        }
        self.whole = !std::mem::replace(&mut self.follows, true);
        let messages =
            if self.whole { self.snapshot() } else { delta_messages(from, self.state, &delta, &self.limits) };
        Edition { messages, refused: news }
    }

    /// Takes a message of the data plane.
    pub fn answer(&mut self, message: ClientMessage) -> Answer {
        match message {
            ClientMessage::Ack(Ack { held, warnings: _ }) if self.is_current(held) => Answer::InForce(Vec::new()),
            ClientMessage::Nack(Nack { held: Some(held), rejected, message, .. })
                if message.is_empty() && held.version == self.state.version =>
            {
                Answer::InForce(rejected)
            }
            ClientMessage::Nack(Nack { version, message, .. })
                if !message.is_empty() && version.is_none_or(|version| version == self.state.version) =>
            {
                // A delta is refused when what is held is not what we believe. A snapshot builds on nothing.
                if std::mem::replace(&mut self.whole, true) {
                    return Answer::Stuck(message);
                }
                self.state.version.number += 1;
                Answer::Again { why: message, messages: self.snapshot() }
            }
            ClientMessage::Wanted(Wanted { issuers }) => Answer::Wanted(issuers),
            ClientMessage::Ack(_) | ClientMessage::Nack(_) | ClientMessage::Hello(_) | ClientMessage::Health(_) => {
                Answer::Nothing
            }
        }
    }

    pub fn version(&self) -> Version {
        self.state.version
    }

    fn is_current(&self, held: State) -> bool {
        held == self.state
    }

    fn snapshot(&self) -> Vec<ServerMessage> {
        snapshot_messages(self.state.version, &self.current, self.state.digests, &self.limits)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use portcullis_ir::{Backend, BackendKey, Endpoints, Host, Protocol, Resource, Source};
    use portcullis_wire::{Assembler, Received, answer};

    use super::*;

    fn backend(name: &str, host: &str) -> Resource {
        let source = Source::Names(vec![(Host::parse(host).unwrap(), 80)]);
        let key = BackendKey::backend("default", name, 80);
        let connect_timeout = std::time::Duration::from_secs(1);
        Resource::Backend(Arc::new(Backend {
            key,
            protocol: Protocol::Http,
            tls: None,
            source,
            connect_timeout,
            broken: None,
        }))
    }

    fn endpoints(name: &str) -> Resource {
        let key = BackendKey::backend("default", name, 80);
        Resource::Endpoints(Arc::new(Endpoints { key, endpoints: Vec::new() }))
    }

    /// Gives messages to a reader, and its answer to the book.
    fn exchange(book: &mut Book, reader: &mut Assembler, messages: Vec<ServerMessage>) -> Answer {
        let mut last = Answer::Nothing;
        for message in messages {
            match reader.receive(&message.into_vec()) {
                Ok(Received::Update(update)) => {
                    last = book.answer(answer(reader.held().unwrap(), update.rejected, update.warnings));
                }
                Ok(_) => {}
                Err(refused) => last = book.answer(refused.answer(reader.held())),
            }
        }
        last
    }

    #[test]
    fn a_snapshot_comes_first_and_then_only_what_changes() {
        let mut book = Book::new(7);
        let mut reader = Assembler::new(Limits::default());
        let first: Snapshot = [backend("a", "a.com"), backend("b", "b.com")].into_iter().collect();
        let edition = book.publish(&first);
        assert!(matches!(edition.messages[0], ServerMessage::Snapshot(_)));
        assert_eq!(exchange(&mut book, &mut reader, edition.messages), Answer::InForce(Vec::new()));
        assert_eq!(book.version(), Version { epoch: 7, number: 1 });
        assert!(book.publish(&first).messages.is_empty());

        let second: Snapshot = [backend("a", "c.com"), backend("b", "b.com")].into_iter().collect();
        let edition = book.publish(&second);
        assert!(matches!(&edition.messages[..], [ServerMessage::Delta(part)] if part.upserts.len() == 1));
        assert_eq!(exchange(&mut book, &mut reader, edition.messages), Answer::InForce(Vec::new()));
        assert_eq!(book.version().number, 2);
    }

    #[test]
    fn the_live_lane_moves_without_a_version() {
        let mut book = Book::new(7);
        let mut reader = Assembler::new(Limits::default());
        let first: Snapshot = [backend("a", "a.com")].into_iter().collect();
        let messages = book.publish(&first).messages;
        exchange(&mut book, &mut reader, messages);
        let second: Snapshot = [backend("a", "a.com"), endpoints("a")].into_iter().collect();
        let messages = book.publish(&second).messages;
        assert_eq!(exchange(&mut book, &mut reader, messages), Answer::InForce(Vec::new()));
        assert_eq!(book.version().number, 1);
    }

    #[test]
    fn a_reader_that_lost_its_state_is_given_everything_once() {
        let mut book = Book::new(7);
        let first: Snapshot = [backend("a", "a.com")].into_iter().collect();
        let messages = book.publish(&first).messages;
        exchange(&mut book, &mut Assembler::new(Limits::default()), messages);
        let second: Snapshot = [backend("a", "b.com")].into_iter().collect();
        let messages = book.publish(&second).messages;
        let mut forgetful = Assembler::new(Limits::default());
        let Answer::Again { messages, .. } = exchange(&mut book, &mut forgetful, messages) else { panic!() };
        assert_eq!(exchange(&mut book, &mut forgetful, messages), Answer::InForce(Vec::new()));
    }
}
