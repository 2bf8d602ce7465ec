//! Regular expressions: fully anchored, bounded in size, linear in time.

use std::fmt;

use regex::RegexBuilder;
use serde::{Serialize, Serializer};

/// A regular expression that must match the whole of its input.
///
/// Anchored as `^(?:…)$` when it is compiled: a `find` whose span covers the input would miss `/ab` for `/a|/ab`,
/// because alternation is leftmost-first. Syntax and running time are those of the `regex` crate (no look-around, no
/// back-references, time linear in the input).
#[derive(Clone)]
pub struct Pattern {
    source: Box<str>,
    regex: regex::Regex,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    #[error("regular expression is {length} bytes long; shorten it to at most {} bytes", Pattern::MAX_LENGTH)]
    TooLong { length: usize },
    #[error("regular expression compiles to more than {} KiB; use fewer or smaller repetitions", Pattern::MAX_COMPILED / 1024)]
    TooComplex,
    #[error("regular expression does not parse: {0}; look-around and back-references are not supported")]
    Syntax(String),
}

impl Pattern {
    /// Longest source, in bytes (the bound of `HTTPPathMatch.value`; header values allow 4096).
    pub const MAX_LENGTH: usize = 4096;
    /// Largest compiled program, in bytes.
    pub const MAX_COMPILED: usize = 256 * 1024;

    /// # Errors
    /// [`InvalidPattern`] when the source is too long, does not parse, or compiles to too large a program.
    pub fn parse(source: &str) -> Result<Self, InvalidPattern> {
        if source.len() > Self::MAX_LENGTH {
            return Err(InvalidPattern::TooLong { length: source.len() });
        }
        // The source alone must parse, so that `a)|(b` cannot escape the group that anchors it.
        Self::compile(source)?;
        let regex = Self::compile(&format!("^(?:{source})$"))?;
        Ok(Self { source: source.into(), regex })
    }

    /// Whether the whole of `input` matches.
    pub fn matches(&self, input: &str) -> bool {
        self.regex.is_match(input)
    }

    pub fn as_str(&self) -> &str {
        &self.source
    }

    fn compile(source: &str) -> Result<regex::Regex, InvalidPattern> {
        RegexBuilder::new(source)
            .size_limit(Self::MAX_COMPILED)
            .dfa_size_limit(Self::MAX_COMPILED)
            .nest_limit(64)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => InvalidPattern::TooComplex,
                // The parser's message spans several lines and repeats the source; its last line says what is wrong.
                other => {
                    let text = other.to_string();
                    let last = text.lines().last().unwrap_or_default().trim();
                    InvalidPattern::Syntax(last.trim_start_matches("error: ").to_owned())
                }
            })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_input_must_match_whichever_branch_is_longer() {
        let pattern = Pattern::parse("/a|/ab").unwrap();
        assert!(pattern.matches("/a") && pattern.matches("/ab"));
        assert!(!pattern.matches("/abc") && !pattern.matches("x/a"));
    }

    #[test]
    fn a_newline_does_not_end_the_input() {
        assert!(!Pattern::parse("/a").unwrap().matches("/a\n"));
    }

    #[test]
    fn an_unbalanced_group_cannot_escape_the_anchors() {
        assert!(matches!(Pattern::parse("a)|(b"), Err(InvalidPattern::Syntax(_))));
    }

    #[test]
    fn exploding_repetitions_are_refused() {
        assert_eq!(Pattern::parse("((a{100}){100}){100}"), Err(InvalidPattern::TooComplex));
    }

    #[test]
    fn an_overlong_source_is_refused() {
        let source = "a".repeat(Pattern::MAX_LENGTH + 1);
        assert_eq!(Pattern::parse(&source), Err(InvalidPattern::TooLong { length: source.len() }));
    }
}
