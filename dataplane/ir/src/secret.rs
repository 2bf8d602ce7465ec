//! Bytes that no printer may show.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A secret. `Debug`, `Display` and `Serialize` print `<redacted>`; reading it takes an explicit [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves. Each call is a place to review.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_printer_shows_a_secret() {
        let secret = Secret::new(*b"hunter2");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "<redacted> <redacted> <redacted>");
        assert_eq!(secret.expose(), b"hunter2");
    }
}
