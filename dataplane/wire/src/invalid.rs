//! Why a resource is refused: the field, what is wrong with it, and what would be right.

use std::fmt;

use portcullis_ir::{InvalidHost, InvalidPattern};

/// A resource that cannot be taken. Says which field and why; never shows a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", Prefix(.field))]
pub struct InvalidResource {
    /// Path to the field, as in `route.matches[3].headers[0].value`. Empty: the resource as a whole.
    pub field: String,
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("is missing; the sender must set it")]
    Missing,
    #[error("does not parse: {0}; sender and reader must speak the same schema")]
    Malformed(String),
    #[error("has a kind that this build does not know; upgrade it to the sender's version")]
    Unsupported,
    #[error(
        "holds a field that this build does not know, or is not in normal form; upgrade it to the sender's version"
    )]
    Excess,
    #[error("is of another kind than the resource's key; the sender must make them agree")]
    OtherKind,
    #[error("is {length} bytes long; shorten it to at most {max} bytes")]
    TooLong { length: usize, max: usize },
    #[error("has {count} entries; it must have {}", Span(*.min, *.max))]
    Count { count: usize, min: usize, max: usize },
    #[error("is {value}; it must be {expected}")]
    OutOfRange { value: u64, expected: &'static str },
    #[error("{0}")]
    Text(&'static str),
    #[error("{0}")]
    Host(#[from] InvalidHost),
    #[error("{0}")]
    Pattern(#[from] InvalidPattern),
}

/// What was wrong with resources that were taken nevertheless, with the part that could not be honoured failing closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    pub warnings: Vec<InvalidResource>,
}

impl InvalidResource {
    pub(crate) fn new(problem: Problem) -> Self {
        Self { field: String::new(), problem }
    }

    /// Prepends the name of the field that this one is inside of.
    fn within(mut self, parent: fmt::Arguments<'_>) -> Self {
        let separator = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("{parent}{separator}{}", self.field);
        self
    }
}

impl From<Problem> for InvalidResource {
    fn from(problem: Problem) -> Self {
        Self::new(problem)
    }
}

impl Diagnostics {
    /// Notes an error and gives the value that fails closed in its place.
    pub(crate) fn instead<T>(&mut self, result: Result<T, InvalidResource>, fail_closed: impl FnOnce() -> T) -> T {
        result.unwrap_or_else(|warning| {
            self.warnings.push(warning);
            fail_closed()
        })
    }

    /// Runs `step` and puts `field` before whatever it noted.
    pub(crate) fn at<T>(&mut self, field: &str, step: impl FnOnce(&mut Self) -> T) -> T {
        let mut inner = Self::default();
        let value = step(&mut inner);
        self.warnings.extend(inner.warnings.into_iter().map(|warning| warning.within(format_args!("{field}"))));
        value
    }
}

/// Says where an error happened, from the inside out.
pub(crate) trait At {
    fn at(self, field: &str) -> Self;
    fn item(self, index: usize) -> Self;
}

impl<T> At for Result<T, InvalidResource> {
    fn at(self, field: &str) -> Self {
        self.map_err(|error| error.within(format_args!("{field}")))
    }

    fn item(self, index: usize) -> Self {
        self.map_err(|error| error.within(format_args!("[{index}]")))
    }
}

/// The field before its problem.
struct Prefix<'a>(&'a str);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("resource ") } else { write!(f, "{}: ", self.0) }
    }
}

/// A range of counts for people.
struct Span(usize, usize);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(0, max) => write!(f, "at most {max}"),
            Self(min, max) => write!(f, "{min} to {max}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_path_to_its_field() {
        let error: Result<(), InvalidResource> = Err(Problem::Missing.into());
        let error = error.at("value").item(2).at("headers").item(0).at("matches").at("route").unwrap_err();
        assert_eq!(error.to_string(), "route.matches[0].headers[2].value: is missing; the sender must set it");
    }

    #[test]
    fn a_count_says_what_would_be_right() {
        let too_many = Problem::Count { count: 9, min: 0, max: 4 };
        assert_eq!(too_many.to_string(), "has 9 entries; it must have at most 4");
        let none = Problem::Count { count: 0, min: 1, max: 4 };
        assert_eq!(none.to_string(), "has 0 entries; it must have 1 to 4");
    }
}
