//! What a complete update gives.

use portcullis_ir::{Config, Delta, Live, Resource, ResourceKey, Snapshot};

use super::pending::Head;
use crate::message::{Ack, ClientMessage, Nack, Observe, Rejection};
use crate::{Digests, Lane, State, Version, diff};

/// What a message leads to.
#[derive(Debug)]
pub enum Received {
    /// A part; the update is not complete.
    More,
    Update(Box<Update>),
    /// The server asks for figures, or no longer does.
    Observe(Observe),
}

/// A complete update, decoded and checked. Rejected resources are not in it; where it is a delta, what the reader held
/// under their keys stays.
#[derive(Debug)]
pub struct Update {
    /// What the reader is at once it applied this.
    pub version: Version,
    pub kind: Kind,
    /// What the reader may claim to hold then.
    pub digests: Digests,
    pub rejected: Vec<Rejection>,
    /// Resources that are in the update but fail closed in part.
    pub warnings: Vec<Rejection>,
}

#[derive(Debug)]
pub enum Kind {
    /// Replaces everything.
    Snapshot(Snapshot),
    /// Replaces the config lane.
    Config(Config),
    /// Replaces the live lane.
    Live(Live),
    Delta(Delta),
}

impl Kind {
    /// The same as a delta from what is held, so that a reader needs one way of applying.
    pub fn into_delta(self, held: &Snapshot) -> Delta {
        let Snapshot { config, live } = held;
        match self {
            Self::Delta(delta) => delta,
            Self::Snapshot(snapshot) => diff(held, &snapshot),
            Self::Config(config) => diff(held, &Snapshot { config, live: live.clone() }),
            Self::Live(live) => diff(held, &Snapshot { config: config.clone(), live }),
        }
    }
}

/// What a data plane answers once an update is in force: `Ack` if all of it is, else `Nack` with the resources that are
/// not.
pub fn answer(held: State, rejected: Vec<Rejection>, warnings: Vec<Rejection>) -> ClientMessage {
    if rejected.is_empty() {
        return ClientMessage::Ack(Ack { held, warnings });
    }
    let version = Some(held.version);
    ClientMessage::Nack(Nack { version, held: Some(held), rejected, warnings, message: String::new() })
}

/// The resources of an update under way.
#[derive(Debug)]
pub(super) struct Contents {
    kind: Kind,
    pub(super) rejected: Vec<Rejection>,
    pub(super) warnings: Vec<Rejection>,
}

impl Contents {
    pub(super) fn new(head: &Head) -> Self {
        let touches = |lane| head.digest(lane).is_some();
        let kind = match (head.replaces(), touches(Lane::Config), touches(Lane::Live)) {
            (false, _, _) => Kind::Delta(Delta::default()),
            (true, true, false) => Kind::Config(Config::default()),
            (true, false, true) => Kind::Live(Live::default()),
            (true, _, _) => Kind::Snapshot(Snapshot::default()),
        };
        Self { kind, rejected: Vec::new(), warnings: Vec::new() }
    }

    /// The resource's lane is one that the head announces.
    pub(super) fn put(&mut self, resource: Resource) {
        match (&mut self.kind, resource) {
            (Kind::Delta(delta), resource) => delta.upserts.push(resource),
            (Kind::Snapshot(snapshot), resource) => drop(snapshot.insert(resource)),
            (Kind::Config(config), Resource::Listener(value)) => {
                config.listeners.insert(value.key.clone(), value);
            }
            (Kind::Config(config), Resource::Route(value)) => {
                config.routes.insert(value.key.clone(), value);
            }
            (Kind::Config(config), Resource::StreamRoute(value)) => {
                config.stream_routes.insert(value.key.clone(), value);
            }
            (Kind::Config(config), Resource::Backend(value)) => {
                config.backends.insert(value.key.clone(), value);
            }
            (Kind::Live(live), Resource::Endpoints(value)) => {
                live.endpoints.insert(value.key.clone(), value);
            }
            (Kind::Live(live), Resource::Certificate(value)) => {
                live.certificates.insert(value.key.clone(), value);
            }
            (Kind::Live(live), Resource::Store(value)) => {
                live.stores.insert(value.key.clone(), value);
            }
            (Kind::Live(live), Resource::Credential(value)) => {
                live.credentials.insert(value.key.clone(), value);
            }
            (Kind::Live(live), Resource::Issuer(value)) => {
                live.issuers.insert(value.key.clone(), value);
            }
            (
                Kind::Config(_),
                Resource::Endpoints(_)
                | Resource::Certificate(_)
                | Resource::Store(_)
                | Resource::Credential(_)
                | Resource::Issuer(_),
            )
            | (
                Kind::Live(_),
                Resource::Listener(_) | Resource::Route(_) | Resource::StreamRoute(_) | Resource::Backend(_),
            ) => {}
        }
    }

    /// Only deltas remove.
    pub(super) fn remove(&mut self, key: ResourceKey) {
        if let Kind::Delta(delta) = &mut self.kind {
            delta.removals.push(key);
        }
    }

    pub(super) fn into_update(self, version: Version, digests: Digests) -> Update {
        let Self { kind, rejected, warnings } = self;
        Update { version, kind, digests, rejected, warnings }
    }
}
