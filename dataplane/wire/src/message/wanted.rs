//! Which issuers' keys should be fetched once more.

use std::collections::BTreeSet;

use portcullis_ir::IssuerKey;

use crate::bounds::{ascending, list};
use crate::convert::decode_issuer;
use crate::invalid::{At, InvalidResource};
use crate::proto;

/// Issuers in one message.
const MAX_ISSUERS: usize = 64;

/// Tokens were met that are signed by keys which are in no set of these issuers. Never empty, and at most
/// [`Wanted::take`] of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub issuers: BTreeSet<IssuerKey>,
}

impl Wanted {
    /// As many of them as one message names, taken away; none if there are none.
    pub fn take(all: &mut BTreeSet<IssuerKey>) -> Option<Self> {
        let mut issuers = std::mem::take(all);
        if let Some(first) = issuers.iter().nth(MAX_ISSUERS).cloned() {
            *all = issuers.split_off(&first);
        }
        (!issuers.is_empty()).then_some(Self { issuers })
    }
}

pub(super) fn encode(wanted: &Wanted) -> proto::Wanted {
    let Wanted { issuers } = wanted;
    proto::Wanted { issuers: issuers.iter().map(|IssuerKey(address)| address.to_string()).collect() }
}

pub(super) fn decode(wanted: proto::Wanted) -> Result<Wanted, InvalidResource> {
    let proto::Wanted { issuers } = wanted;
    let issuers = list(issuers, 1..=MAX_ISSUERS, decode_issuer).at("issuers")?;
    ascending(&issuers, Clone::clone).at("issuers")?;
    Ok(Wanted { issuers: issuers.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_one_message_holds_is_said_by_several() {
        let mut all: BTreeSet<_> = (0..150).map(|at| IssuerKey(format!("https://i{at}.example").into())).collect();
        let mut sizes = Vec::new();
        while let Some(Wanted { issuers }) = Wanted::take(&mut all) {
            sizes.push(issuers.len());
        }
        assert_eq!(sizes, [64, 64, 22]);
    }
}
