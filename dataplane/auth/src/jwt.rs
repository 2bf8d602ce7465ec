//! JSON Web Tokens (RFC 7519, RFC 8725).

use std::sync::Arc;

use portcullis_expressions::{Claims, Identity};
use portcullis_ir::{JwtKeys, JwtMethod};

use crate::encoding::{base64url, base64url_into, sha256};
use crate::json;
use crate::jwk::algorithm;
use crate::jws::{Header, Jws};
use crate::key_set::Signature;
use crate::members::{Member, members};
use crate::{KeySet, Reason};

/// Longest token, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;
/// Bytes of a header that is decoded without an allocation.
const HEADER: usize = 256;
/// The same of a signature: that of the longest RSA key that is taken.
const SIGNATURE: usize = 1024;

/// A method that takes tokens of one issuer.
#[derive(Debug)]
pub struct Jwt {
    name: Arc<str>,
    config: JwtMethod,
    /// What makes it another method than others: whatever one has verified, no other has.
    id: [u8; 32],
    /// None: the vault has them.
    inline: Option<Result<Arc<KeySet>, Reason>>,
}

/// A token whose signature and claims are good, and for how long.
#[derive(Clone, Debug)]
pub struct Verified {
    pub identity: Arc<Identity>,
    /// Milliseconds since 1970; good from here on.
    pub from: u64,
    /// Good before here.
    pub until: u64,
}

/// The claims that decide whether a token is good (RFC 7519, 4.1).
struct Registered<'t> {
    issuer: Option<Member<'t>>,
    subject: Option<Member<'t>>,
    audience: Option<Member<'t>>,
    expires: Option<Member<'t>>,
    not_before: Option<Member<'t>>,
    issued: Option<Member<'t>>,
}

impl Jwt {
    pub fn new(name: &str, config: &JwtMethod) -> Self {
        let inline = match &config.keys {
            JwtKeys::Inline(text) => Some(KeySet::public(text.as_bytes()).map(Arc::new).map_err(|_| Reason::NoKeys)),
            JwtKeys::Issuer(_) | JwtKeys::Credential(_) => None,
        };
        let written = serde_json::to_vec(config).unwrap_or_default();
        let id = sha256(&[name.as_bytes(), &[0], &written]);
        Self { name: name.into(), config: config.clone(), id, inline }
    }

    pub fn config(&self) -> &JwtMethod {
        &self.config
    }

    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// The keys that the policy itself holds, if it does.
    pub fn inline(&self) -> Option<Result<&Arc<KeySet>, Reason>> {
        self.inline.as_ref().map(|keys| keys.as_ref().map_err(|reason| *reason))
    }

    /// Judges a token. `keys` are those of the method; none: there are none.
    ///
    /// # Errors
    /// The first rule that the token breaks. Whether it is of another issuer is told first, so that of several methods
    /// only the one that it is for looks at its signature.
    pub fn verify(&self, token: &[u8], keys: Option<&KeySet>, now: u64) -> Result<Verified, Reason> {
        if token.len() > MAX_TOKEN {
            return Err(Reason::TooLarge);
        }
        let jws = Jws::split(token).ok_or(Reason::Malformed)?;
        let mut room = [0; HEADER];
        let header = base64url_into(jws.header, &mut room).ok_or(Reason::Malformed)?;
        let header = Header::read(&header)?;
        let text = base64url(jws.claims.as_bytes()).ok_or(Reason::Malformed)?;
        let text = String::from_utf8(text).map_err(|_| Reason::Malformed)?;
        let claims = Registered::read(&text)?;
        let mut room = [0; SIGNATURE];
        let signature = base64url_into(jws.signature, &mut room).ok_or(Reason::Malformed)?;
        if let Some(issuer) = &self.config.issuer
            && claims.issuer.as_ref().and_then(Member::as_text) != Some(issuer)
        {
            return Err(Reason::OtherIssuer);
        }
        let keys = keys.ok_or(Reason::NoKeys)?;
        if header.critical {
            return Err(Reason::Critical);
        }
        let algorithm = algorithm(&header.algorithm).ok_or(Reason::Algorithm)?;
        if !self.config.algorithms.contains(&algorithm) {
            return Err(Reason::Algorithm);
        }
        match keys.verify(header.key_id.as_deref(), algorithm, jws.signed.as_bytes(), &signature) {
            Signature::Good => {}
            Signature::Bad => return Err(Reason::Signature),
            Signature::UnknownKey => return Err(Reason::UnknownKey),
            Signature::OtherAlgorithm => return Err(Reason::Algorithm),
        }
        self.check_audience(claims.audience.as_ref())?;
        let (from, until) = self.lifetime(&claims, now)?;
        let subject = claims.subject.as_ref().and_then(Member::as_text).map(Box::from);
        let claims = Claims::of_text(text, |text| json::parse(text.as_bytes()).ok());
        let identity = Identity { method: Arc::clone(&self.name), subject, claims, ..Identity::default() };
        Ok(Verified { identity: Arc::new(identity), from, until })
    }

    /// A string or a list of strings (RFC 7519, 4.1.3).
    fn check_audience(&self, audience: Option<&Member<'_>>) -> Result<(), Reason> {
        let audiences = &self.config.audiences;
        if audiences.is_empty() {
            return Ok(());
        }
        let is_wanted = |name: &str| audiences.iter().any(|one| **one == *name);
        let good = match audience {
            Some(Member::Text(one)) => is_wanted(one),
            Some(Member::List(several)) => several.iter().any(|one| is_wanted(one)),
            _ => false,
        };
        if good { Ok(()) } else { Err(Reason::Audience) }
    }

    /// From when and until when the token is good, the clocks' difference included: `exp` is the first moment at which it
    /// is not good any more, `nbf` and `iat` the first at which it is.
    fn lifetime(&self, claims: &Registered<'_>, now: u64) -> Result<(u64, u64), Reason> {
        let leeway = u64::try_from(self.config.leeway.as_millis()).unwrap_or(u64::MAX);
        let until = time(claims.expires.as_ref())?.map_or(u64::MAX, |exp| exp.saturating_add(leeway));
        let begins = |claim| Ok(time(claim)?.map_or(0, |time| time.saturating_sub(leeway)));
        let (not_before, issued) = (begins(claims.not_before.as_ref())?, begins(claims.issued.as_ref())?);
        if now >= until {
            return Err(Reason::Expired);
        }
        if now < not_before {
            return Err(Reason::NotYetValid);
        }
        if now < issued {
            return Err(Reason::IssuedInFuture);
        }
        Ok((not_before.max(issued), until))
    }
}

impl<'t> Registered<'t> {
    fn read(json: &'t str) -> Result<Self, Reason> {
        let names = ["iss", "sub", "aud", "exp", "nbf", "iat"];
        let [issuer, subject, audience, expires, not_before, issued] =
            members(json, names).map_err(|_| Reason::Malformed)?;
        Ok(Self { issuer, subject, audience, expires, not_before, issued })
    }
}

/// A NumericDate in milliseconds; before 1970 is 1970.
fn time(claim: Option<&Member<'_>>) -> Result<Option<u64>, Reason> {
    let Some(value) = claim else { return Ok(None) };
    let Member::Number(number) = value else { return Err(Reason::Malformed) };
    if let Some(seconds) = number.as_u64() {
        return Ok(Some(seconds.saturating_mul(1000)));
    }
    // Beyond what a float holds exactly nothing is valid for long anyway; the conversion saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let milliseconds = number.as_f64().map(|seconds| (seconds * 1000.0).floor() as u64);
    milliseconds.map(Some).ok_or(Reason::Malformed)
}
