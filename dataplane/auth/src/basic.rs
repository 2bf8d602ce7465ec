//! Basic credentials (RFC 7617).

use std::fmt;

use crate::Reason;
use crate::encoding::{base64, sha256};
use crate::password::MAX_PASSWORD;

/// A user's name and password, as a client claims them.
pub struct Basic {
    pub name: String,
    pub password: Vec<u8>,
}

impl Basic {
    /// What stands behind `Basic `.
    ///
    /// # Errors
    /// Malformed or too large.
    pub fn parse(credentials: &[u8]) -> Result<Self, Reason> {
        if credentials.len() > 4 * MAX_PASSWORD {
            return Err(Reason::TooLarge);
        }
        let decoded = base64(credentials).ok_or(Reason::Malformed)?;
        let at = decoded.iter().position(|byte| *byte == b':').ok_or(Reason::Malformed)?;
        let name = std::str::from_utf8(&decoded[..at]).map_err(|_| Reason::Malformed)?.to_owned();
        let password = decoded[at + 1..].to_vec();
        if name.len() > MAX_PASSWORD || password.len() > MAX_PASSWORD {
            return Err(Reason::TooLarge);
        }
        Ok(Self { name, password })
    }

    /// To find it again among what was verified, without keeping the password.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&[&self.name.len().to_be_bytes(), self.name.as_bytes(), &self.password])
    }
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Basic({}, <redacted>)", self.name)
    }
}
