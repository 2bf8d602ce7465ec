//! Reads a few members of an object and only looks at the rest, for what is read once and by every token: nothing is
//! allocated but for what is asked for and cannot be lent from the text. Takes the texts that [`json::parse`] takes.
//!
//! [`json::parse`]: crate::json::parse

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use crate::InvalidJson;
use crate::json::MAX_DEPTH;

/// Names of one object that are compared one by one. Others are looked up, so that no text takes time that grows with
/// its square.
const FEW: usize = 16;

/// A member's value, as much of it as anybody asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Member<'t> {
    Text(Cow<'t, str>),
    Number(Number),
    /// The texts that a list holds, beside which it may hold other values.
    List(Vec<Cow<'t, str>>),
    Other,
}

impl Member<'_> {
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// The members of these names, in their order.
///
/// # Errors
/// [`InvalidJson`], where `json::parse` says so.
pub(crate) fn members<'t, const N: usize>(
    text: &'t str,
    names: [&str; N],
) -> Result<[Option<Member<'t>>; N], InvalidJson> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Object { names }).map_err(|_| InvalidJson)?;
    reader.end().map_err(|_| InvalidJson)?;
    Ok(members)
}

struct Object<'n, const N: usize> {
    names: [&'n str; N],
}

impl<'t, const N: usize> Visitor<'t> for Object<'_, N> {
    type Value = [Option<Member<'t>>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = [const { None }; N];
        let mut others = Names::default();
        while let Some(name) = map.next_key_seed(Name)? {
            let member = self.names.iter().zip(&mut members).find(|(asked, _)| ***asked == *name);
            let is_new = match member {
                Some((_, member)) => member.replace(map.next_value_seed(Look { depth: 1, is_asked: true })?).is_none(),
                None => {
                    map.next_value_seed(Look { depth: 1, is_asked: false })?;
                    others.is_new(name)
                }
            };
            if !is_new {
                return Err(twice());
            }
        }
        Ok(members)
    }
}

/// Looks at a value; gives [`Member::Other`] for one that nobody asked for.
#[derive(Clone, Copy)]
struct Look {
    /// How many objects and lists it is in.
    depth: u8,
    is_asked: bool,
}

impl Look {
    fn inside<E: Error>(self) -> Result<Self, E> {
        if self.depth < MAX_DEPTH { Ok(Self { depth: self.depth + 1, ..self }) } else { Err(E::custom("too deep")) }
    }

    fn number<'t>(self, number: impl Into<Number>) -> Member<'t> {
        if self.is_asked { Member::Number(number.into()) } else { Member::Other }
    }

    fn text<'t>(self, text: impl Into<Cow<'t, str>>) -> Member<'t> {
        if self.is_asked { Member::Text(text.into()) } else { Member::Other }
    }
}

impl<'t> DeserializeSeed<'t> for Look {
    type Value = Member<'t>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Member<'t>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Look {
    type Value = Member<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Member<'t>, E> {
        Ok(Member::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Member<'t>, E> {
        Ok(Member::Other)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Member<'t>, E> {
        Ok(self.number(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Member<'t>, E> {
        Ok(self.number(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Member<'t>, E> {
        Number::from_f64(value).map(|number| self.number(number)).ok_or_else(|| E::custom("no number"))
    }

    fn visit_borrowed_str<E>(self, value: &'t str) -> Result<Member<'t>, E> {
        Ok(self.text(value))
    }

    /// It had escapes, so that it is not lent from the text.
    fn visit_str<E>(self, value: &str) -> Result<Member<'t>, E> {
        Ok(if self.is_asked { Member::Text(value.to_owned().into()) } else { Member::Other })
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut sequence: A) -> Result<Member<'t>, A::Error> {
        let inside = self.inside()?;
        let mut texts = Vec::new();
        while let Some(value) = sequence.next_element_seed(inside)? {
            if let Member::Text(text) = value {
                texts.push(text);
            }
        }
        Ok(if self.is_asked { Member::List(texts) } else { Member::Other })
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Member<'t>, A::Error> {
        let inside = Self { is_asked: false, ..self.inside()? };
        let mut names = Names::default();
        while let Some(name) = map.next_key_seed(Name)? {
            map.next_value_seed(inside)?;
            if !names.is_new(name) {
                return Err(twice());
            }
        }
        Ok(Member::Other)
    }
}

fn twice<E: Error>() -> E {
    E::custom("a name occurs twice")
}

/// The names of one object.
#[derive(Default)]
struct Names<'t> {
    few: [&'t str; FEW],
    count: usize,
    /// What is not among the few: there was no room, or the name had escapes.
    more: BTreeSet<Cow<'t, str>>,
}

impl<'t> Names<'t> {
    /// Whether it has not been asked about before.
    fn is_new(&mut self, name: Cow<'t, str>) -> bool {
        if self.few[..self.count].iter().any(|known| **known == *name) {
            return false;
        }
        match name {
            Cow::Borrowed(name) if self.count < FEW => {
                self.few[self.count] = name;
                self.count += 1;
                !self.more.contains(name)
            }
            name => self.more.insert(name),
        }
    }
}

struct Name;

impl<'t> DeserializeSeed<'t> for Name {
    type Value = Cow<'t, str>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Cow<'t, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'t> Visitor<'t> for Name {
    type Value = Cow<'t, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'t str) -> Result<Cow<'t, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'t, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests;
