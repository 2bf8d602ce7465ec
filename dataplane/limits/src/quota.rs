//! Reading and resetting what one key has left, by people who name the key.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::charge::{Book, Standings};
use crate::key::{Part, Value};
use crate::rule::{Applied, Rule};
use crate::time::Time;

/// Parts of a key that do not fit a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("the key has {given} parts; the rule's has {expected}")]
    Parts { given: usize, expected: usize },
    #[error("`{0}` is no address; give the client's address in this place")]
    Address(String),
    #[error("there is no tier `{0}`; leave it out for everybody else's")]
    Tier(String),
}

impl Rule {
    /// The rule under a key that is given as text: a value for each part, in order; `~` before an address is the client
    /// for whom it stands in.
    ///
    /// # Errors
    /// [`InvalidKey`] when the parts are not those of the rule.
    pub fn under(&self, tier: Option<&str>, parts: &[&str]) -> Result<Named<'_>, InvalidKey> {
        if parts.len() != self.key().len() {
            return Err(InvalidKey::Parts { given: parts.len(), expected: self.key().len() });
        }
        let values =
            self.key().iter().zip(parts).map(|(part, text)| value(part, text)).collect::<Result<Vec<_>, _>>()?;
        self.with_values(tier, values)
    }
}

fn value(part: &Part, text: &str) -> Result<Value<'static>, InvalidKey> {
    let address = |text: &str| {
        text.parse().map(|address: IpAddr| address.to_canonical()).map_err(|_| InvalidKey::Address(text.to_owned()))
    };
    if let Part::ClientIp { .. } = part {
        // A network may be given as it is shown.
        let text = text.split_once('/').map_or(text, |(address, _)| address);
        return Ok(part.network(address(text)?).unwrap_or(Value::InsteadOf(address(text)?)));
    }
    match text.strip_prefix('~').map(address) {
        Some(Ok(address)) => Ok(Value::InsteadOf(address)),
        _ => Ok(Value::Bytes(Cow::Owned(text.as_bytes().to_vec()))),
    }
}

/// A rule under a key that somebody named.
#[derive(Debug)]
pub struct Named<'p> {
    pub applied: Applied<'p>,
    /// As [`Applied::key_text`].
    pub text: String,
}

impl Applied<'_> {
    /// Where the key stands, without counting.
    pub fn peek(&self, book: Book, now: Time) -> Standings {
        self.claims(book).map(|claim| claim.peek(now)).collect()
    }

    /// Forgets what the key has spent.
    pub fn reset(&self) {
        for book in [Book::Own, Book::Share { replicas: 1 }, Book::Guard { replicas: 1, multiple: 1 }] {
            self.claims(book).for_each(|claim| claim.reset());
        }
    }
}
