//! Response flags: why a request ended as it did, when it was not the backend's answer that decided it.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of flags; printed as their codes joined by `,`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags(u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $code:literal, $ours:literal;)+) => {
        $($(#[$doc])* pub(crate) const $name: Flags = Flags(1 << $bit);)+

        /// Bit, code, and whether the request failed by our doing or for want of a backend (never the client's fault).
        const TABLE: &[(u32, &str, bool)] = &[$((1 << $bit, $code, $ours),)+];
    };
}

flags! {
    /// No route matched.
    NO_ROUTE = 0, "NR", false;
    /// No connection to the backend could be had.
    UPSTREAM_CONNECT_FAILURE = 1, "UF", true;
    /// The backend did not answer in time.
    UPSTREAM_TIMEOUT = 2, "UT", true;
    /// The backend's connection ended before its answer did.
    UPSTREAM_RESET = 3, "UR", true;
    /// The client left before the answer was complete.
    DOWNSTREAM_GONE = 4, "DC", false;
    /// The backend has no endpoint that could take traffic.
    NO_ENDPOINTS = 5, "NE", true;
    /// The route names a backend that does not exist or may not be named.
    INVALID_BACKEND = 6, "IB", true;
    /// A limit on the request was exceeded (head, headers, body).
    REQUEST_LIMIT = 7, "RL", false;
    /// The request was malformed.
    BAD_REQUEST = 8, "BR", false;
    /// The client was too slow with its request.
    DOWNSTREAM_TIMEOUT = 9, "DT", false;
    /// Host and TLS server name belong to different listeners.
    MISDIRECTED = 10, "MD", false;
    /// The backend broke the protocol.
    UPSTREAM_PROTOCOL = 11, "UP", true;
    /// The route could not be honoured as a whole (an invalid filter or match).
    INVALID_ROUTE = 12, "IR", true;
    /// We are overloaded or not configured yet.
    UNAVAILABLE = 13, "UA", true;
    /// Answered by a redirect of the route.
    REDIRECT = 14, "RD", false;
    /// Sent to a backend more than once: a reused connection had died, or the rule's retries ask for it.
    RETRIED = 15, "RT", false;
    /// Failed inside us (a defect).
    INTERNAL = 16, "IE", true;
    /// A CORS preflight, answered for the route.
    PREFLIGHT = 17, "PF", false;
    /// A rate limit was used up.
    RATE_LIMITED = 18, "LI", false;
    /// An AuthPolicy does not know who the client is.
    UNAUTHENTICATED = 20, "AN", false;
    /// An AuthPolicy knows who the client is, and does not let it.
    UNAUTHORIZED = 21, "AZ", false;
}

impl Flags {
    pub(crate) const NONE: Self = Self(0);
    /// Number of flags; the size of tables indexed by [`Flags::indices`].
    pub(crate) const COUNT: usize = TABLE.len();

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the request failed by our doing or for want of a backend; such requests are logged beside the sample.
    pub(crate) fn is_failure(self) -> bool {
        TABLE.iter().any(|&(bit, _, ours)| ours && self.0 & bit != 0)
    }

    pub(crate) fn indices(self) -> impl Iterator<Item = usize> {
        TABLE.iter().enumerate().filter(move |(_, (bit, ..))| self.0 & bit != 0).map(|(index, _)| index)
    }

    /// The code of the flag at an index.
    pub(crate) fn code(index: usize) -> &'static str {
        TABLE.get(index).map_or("", |(_, code, _)| code)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, index) in self.indices().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            f.write_str(Self::code(index))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_their_codes_in_a_fixed_order() {
        assert_eq!((UPSTREAM_TIMEOUT | NO_ROUTE).to_string(), "NR,UT");
        assert_eq!(Flags::NONE.to_string(), "");
    }

    #[test]
    fn every_flag_has_a_bit_and_a_code_of_its_own() {
        let mut bits = 0;
        let mut codes = std::collections::BTreeSet::new();
        for (bit, code, _) in TABLE {
            assert_eq!(bits & bit, 0, "{code}");
            bits |= bit;
            assert!(codes.insert(code));
        }
    }

    #[test]
    fn a_client_that_leaves_is_not_our_failure() {
        assert!(!DOWNSTREAM_GONE.is_failure());
        assert!((DOWNSTREAM_GONE | NO_ENDPOINTS).is_failure());
    }
}
