//! One reader: what it was sent, what it said, what it is to be sent next. Pure, so that every order of messages can be
//! told as a story.
//!
//! ```text
//!            ┌──────────── next(target) ────────────► in flight ── Ack, Nack of resources ──► base
//! Hello ─► base (or none)                                 └────── Nack of the whole ──► no base: once a snapshot, then stuck
//! ```

use portcullis_wire::{Ack, ClientMessage, Nack, State};

use crate::Pod;

#[derive(Debug)]
pub(crate) struct Session {
    /// What it has been sent and has taken. None: only a snapshot will do.
    base: Option<State>,
    in_flight: Option<Sent>,
    /// What it refused as a snapshot. It is not tried again before [`Session::retry`] or another version.
    stuck: Option<State>,
    pod: Pod,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    to: State,
    whole: bool,
}

/// What a message came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It says something new of the pod, and perhaps the next update is due.
    Answer,
    /// It refused an update as a whole.
    Refusal,
    /// Nothing for a session.
    Nothing,
}

impl Session {
    /// `held`: what the reader's Hello claims.
    pub(crate) fn new(held: Option<State>) -> Self {
        Self { base: held, in_flight: None, stuck: None, pod: Pod { held, connected: true, ..Pod::default() } }
    }

    /// As far as it has spoken.
    pub(crate) fn pod(&self) -> &Pod {
        &self.pod
    }

    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// Where the next update starts, if one is due. [`Session::sent`] must follow.
    pub(crate) fn next(&self, target: State) -> Option<Option<State>> {
        if self.in_flight.is_some() || self.stuck.is_some_and(|stuck| stuck.version == target.version) {
            return None;
        }
        match self.base {
            Some(base) if is_there(base, target) => None,
            base => Some(base),
        }
    }

    pub(crate) fn sent(&mut self, to: State, whole: bool) {
        self.stuck = None;
        self.in_flight = Some(Sent { to, whole });
    }

    /// Lets a snapshot be tried again.
    pub(crate) fn retry(&mut self) {
        self.stuck = None;
    }

    pub(crate) fn hear(&mut self, message: ClientMessage) -> Heard {
        match message {
            ClientMessage::Ack(Ack { held, warnings }) => {
                // All that was sent is held: it names a point wherever it comes from.
                match self.expected() {
                    Some(to) if to == held => self.settle(to),
                    Some(_) if self.in_flight.is_some() => {}
                    _ => self.base = Some(held),
                }
                self.pod = Pod { held: Some(held), answered: Some(held.digests), warnings, ..self.standing() };
                Heard::Answer
            }
            ClientMessage::Nack(Nack { held, rejected, warnings, message, .. }) if message.is_empty() => {
                let answered = match (self.expected(), held) {
                    (Some(to), Some(held)) if to.version == held.version => {
                        self.settle(to);
                        Some(to.digests)
                    }
                    (None, Some(held)) => {
                        self.base.filter(|base| base.version == held.version).map(|base| base.digests)
                    }
                    _ => None,
                };
                self.pod = Pod { held, answered, rejected, warnings, ..self.standing() };
                Heard::Answer
            }
            ClientMessage::Nack(Nack { held, message, .. }) => {
                self.pod.held = held;
                self.pod.refused = Some(message);
                let Some(Sent { to, whole }) = self.in_flight.take() else { return Heard::Answer };
                // What it holds is not what we believe; a snapshot builds on nothing.
                self.base = None;
                self.stuck = whole.then_some(to);
                Heard::Refusal
            }
            ClientMessage::Hello(_) | ClientMessage::Health(_) | ClientMessage::Wanted(_) => Heard::Nothing,
        }
    }

    /// What an answer may be about.
    fn expected(&self) -> Option<State> {
        self.in_flight.map(|sent| sent.to).or(self.stuck)
    }

    fn settle(&mut self, at: State) {
        self.base = Some(at);
        self.in_flight = None;
        self.stuck = None;
        self.pod.refused = None;
    }

    /// What an answer does not say anew.
    fn standing(&self) -> Pod {
        Pod { connected: true, refused: self.pod.refused.clone(), ..Pod::default() }
    }
}

/// Equal digests are equal content; the number is told within an epoch only, where a message costs nothing to make.
fn is_there(base: State, target: State) -> bool {
    base.digests == target.digests && (base.version == target.version || base.version.epoch != target.version.epoch)
}
