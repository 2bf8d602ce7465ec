//! Why a whole update is refused. The reader keeps what it has; the sender answers with a snapshot.

use portcullis_ir::Digest;

use crate::message::{ClientMessage, InvalidMessage, Nack};
use crate::{Lane, State, Version};

/// A refused update.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct Refused {
    /// The version that was asked for. None: the message could not be read that far.
    pub version: Option<Version>,
    pub refusal: Refusal,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Message(#[from] InvalidMessage),
    #[error("part {found} came where part {expected} was due; send the parts in order")]
    Part { expected: u32, found: u32 },
    #[error("a part belongs to another update than the parts before it; start an update with part 0")]
    OtherHead,
    #[error("nothing is held that this could change; send a snapshot of both lanes")]
    NothingHeld,
    #[error("the delta is of epoch {found}, held is version {held}; send a snapshot")]
    Epoch { held: Version, found: u64 },
    #[error("the delta leads from version {found}, held is version {held}; send a snapshot")]
    From { held: Version, found: u64 },
    #[error("the delta leads from another config lane than the one held; send a snapshot")]
    ConfigFrom,
    #[error("the delta leads from another live lane than the one held; send a snapshot")]
    LiveFrom,
    #[error("the {lane} lane adds up to {found}, announced was {announced}; send a snapshot")]
    Digest { lane: Lane, announced: Digest, found: Digest },
    #[error("a key occurs twice in one update; send each resource once")]
    Twice,
    #[error("more than {max} resources; serve fewer from one data plane")]
    TooManyResources { max: usize },
    #[error("the update has more than {max} bytes; serve fewer resources from one data plane")]
    TooManyBytes { max: usize },
}

impl Refused {
    /// What the data plane answers.
    pub fn answer(&self, held: Option<State>) -> ClientMessage {
        ClientMessage::Nack(Nack {
            version: self.version,
            held,
            rejected: Vec::new(),
            warnings: Vec::new(),
            message: self.to_string(),
        })
    }
}
