//! What one replica of the server tells another about the data planes that are connected to it.

use std::sync::Arc;

use portcullis_ir::GatewayKey;
use prost::Message;

use super::common::{decode_digests, decode_held, encode_digests, encode_held};
use super::error::{InvalidMessage, check};
use super::rejection::{self, Rejection};
use super::wanted::{self, Wanted};
use crate::bounds::{name, required};
use crate::convert::{decode_gateway, encode_gateway};
use crate::invalid::{At, InvalidResource};
use crate::{Digests, Limits, SCHEMA, State, proto};

/// What one replica tells another.
// Each is made, sent and taken apart at once.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    Pod(PodReport),
    /// What any of its pods said.
    Wanted(Wanted),
}

/// One pod of one Gateway, as one replica knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReport {
    pub gateway: GatewayKey,
    pub pod: Arc<str>,
    /// None: it is not there any more.
    pub state: Option<PodState>,
}

/// One data plane, as it spoke last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodState {
    /// What it runs; none before its first program.
    pub held: Option<State>,
    /// The digests that were asked of it when it last said "in force, but for what is rejected". Comparable between
    /// replicas, as `held` is not where something was rejected.
    pub answered: Option<Digests>,
    /// What of that is not in force.
    pub rejected: Vec<Rejection>,
    /// In force, but failing closed in part.
    pub warnings: Vec<Rejection>,
    /// Why it refused an update as a whole; it serves what it held before.
    pub refused: Option<String>,
    /// Whether a stream is open, here or at a peer.
    pub connected: bool,
}

impl Report {
    pub fn encode_to_vec(&self) -> Vec<u8> {
        let message = match self {
            Self::Pod(PodReport { gateway, pod, state }) => proto::PodReport {
                schema: SCHEMA,
                gateway: Some(encode_gateway(gateway)),
                pod: pod.to_string(),
                state: state.as_ref().map(encode_state),
                wanted: None,
            },
            Self::Wanted(wanted) => {
                proto::PodReport { schema: SCHEMA, wanted: Some(wanted::encode(wanted)), ..proto::PodReport::default() }
            }
        };
        message.encode_to_vec()
    }

    /// # Errors
    /// [`InvalidMessage`], naming the field; another schema is told before anything else.
    pub fn decode(message: &[u8]) -> Result<Self, InvalidMessage> {
        check(message, Limits::default().max_message)?;
        let proto::PodReport { schema: _, gateway, pod, state, wanted } = proto::PodReport::decode(message)?;
        if let Some(wanted) = wanted {
            return Ok(Self::Wanted(wanted::decode(wanted).at("wanted")?));
        }
        Ok(Self::Pod(PodReport {
            gateway: required(gateway).and_then(decode_gateway).at("gateway")?,
            pod: name(pod).at("pod")?,
            state: state.map(decode_state).transpose().at("state")?,
        }))
    }
}

fn encode_state(state: &PodState) -> proto::PodState {
    let PodState { held, answered, rejected, warnings, refused, connected } = state;
    proto::PodState {
        held: held.map(encode_held),
        answered: answered.map(encode_digests),
        rejected: rejection::encode_all(rejected),
        warnings: rejection::encode_all(warnings),
        refused: refused.as_deref().map(rejection::cut).unwrap_or_default(),
        connected: *connected,
    }
}

fn decode_state(state: proto::PodState) -> Result<PodState, InvalidResource> {
    let proto::PodState { held, answered, rejected, warnings, refused, connected } = state;
    let refused = rejection::decode_text(refused).at("refused")?;
    Ok(PodState {
        held: held.map(decode_held).transpose().at("held")?,
        answered: answered.map(decode_digests).transpose().at("answered")?,
        rejected: rejection::decode_all(rejected).at("rejected")?,
        warnings: rejection::decode_all(warnings).at("warnings")?,
        refused: (!refused.is_empty()).then_some(refused),
        connected,
    })
}
