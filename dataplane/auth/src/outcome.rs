//! Why a credential, or its absence, does not let a client pass. Codes for metrics and logs; none tells a secret.

/// How one method judged a request that it did not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The request shows nothing that the method looks at.
    Missing,
    /// The token is of an issuer that another method is for.
    OtherIssuer,
    /// Not the form of such a credential.
    Malformed,
    /// More bytes than a credential may have.
    TooLarge,
    /// `none`, an algorithm that the policy does not list, or one that the key is not for.
    Algorithm,
    /// The token asks for an extension (`crit`).
    Critical,
    /// No key of the set has the token's `kid`.
    UnknownKey,
    /// The signature is not by any key of the set.
    Signature,
    Audience,
    Expired,
    NotYetValid,
    /// `iat` lies ahead.
    IssuedInFuture,
    /// No consumer has the key.
    UnknownApiKey,
    /// No user of the name, or another password.
    Password,
    /// A certificate is there, but no rule takes it.
    Certificate,
    /// A service that was asked said no.
    Refused,
    /// No keys were ever obtained, or not any more.
    NoKeys,
    /// What the method needs is not there: a Secret, or a service.
    Unavailable,
    /// Too much is being judged at once.
    Overloaded,
}

/// What follows from a [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// There was nothing to judge.
    Missing,
    /// It was judged and is not good.
    Invalid,
    /// It could not be judged.
    Unavailable,
}

impl Reason {
    pub const ALL: [Self; 19] = [
        Self::Missing,
        Self::OtherIssuer,
        Self::Malformed,
        Self::TooLarge,
        Self::Algorithm,
        Self::Critical,
        Self::UnknownKey,
        Self::Signature,
        Self::Audience,
        Self::Expired,
        Self::NotYetValid,
        Self::IssuedInFuture,
        Self::UnknownApiKey,
        Self::Password,
        Self::Certificate,
        Self::Refused,
        Self::NoKeys,
        Self::Unavailable,
        Self::Overloaded,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::OtherIssuer => "other_issuer",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::UnknownApiKey => "unknown_api_key",
            Self::Password => "password",
            Self::Certificate => "certificate",
            Self::Refused => "refused",
            Self::NoKeys => "no_keys",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
        }
    }

    pub fn kind(self) -> Kind {
        match self {
            Self::Missing => Kind::Missing,
            Self::NoKeys | Self::Unavailable | Self::Overloaded => Kind::Unavailable,
            _ => Kind::Invalid,
        }
    }

    /// Of two methods that both failed: the reason that says more about the client.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        // A method that the token was not meant for says less than the one that it was.
        let rank = |reason: Self| (reason.kind(), reason != Self::OtherIssuer);
        if rank(other) > rank(self) { other } else { self }
    }

    /// For the client: what is wrong, and nothing of the inside.
    pub fn message(self) -> &'static str {
        match self {
            Self::Missing => "the request carries no credential",
            Self::OtherIssuer => "the token is of an issuer that is not accepted here",
            Self::Malformed => "the credential is malformed",
            Self::TooLarge => "the credential is too large",
            Self::Algorithm | Self::UnknownKey | Self::Signature | Self::Critical => "the token cannot be verified",
            Self::Audience => "the token is for another audience",
            Self::Expired => "the token has expired",
            Self::NotYetValid | Self::IssuedInFuture => "the token is not valid yet",
            Self::UnknownApiKey | Self::Password | Self::Certificate | Self::Refused => {
                "the credential is not accepted"
            }
            Self::NoKeys | Self::Unavailable => "the credential cannot be judged now",
            Self::Overloaded => "too many credentials are being judged",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_failures_the_one_that_says_more_counts() {
        for (one, other, expected) in [
            (Reason::Missing, Reason::Expired, Reason::Expired),
            (Reason::Expired, Reason::Missing, Reason::Expired),
            (Reason::OtherIssuer, Reason::Signature, Reason::Signature),
            (Reason::Signature, Reason::OtherIssuer, Reason::Signature),
            (Reason::Missing, Reason::OtherIssuer, Reason::OtherIssuer),
            (Reason::Signature, Reason::NoKeys, Reason::NoKeys),
            (Reason::Expired, Reason::Audience, Reason::Expired),
        ] {
            assert_eq!(one.or(other), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn every_reason_has_a_code_of_its_own_and_its_place() {
        let codes: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        assert!(Reason::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
    }
}
