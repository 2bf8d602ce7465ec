//! How a client is turned away: status, challenges (RFC 6750, RFC 7617) and what the policy adds.

use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use portcullis_expressions::Identity;
use portcullis_ir::DenyResponse;

use crate::{Kind, Reason};

/// What a method asks of a client that has not shown anything, or nothing good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    Bearer,
    /// With its realm.
    Basic(Box<str>),
    ApiKey,
    Certificate,
    /// Nothing.
    None,
}

/// The policy's own say on an answer.
#[derive(Clone, Debug, Default)]
pub struct Deny {
    status: Option<StatusCode>,
    headers: HeaderMap,
    body: Option<Box<str>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Denial {
    pub status: StatusCode,
    /// 7 permission denied, 14 unavailable, 16 unauthenticated.
    pub grpc: u8,
    pub headers: HeaderMap,
    pub body: Option<Box<str>>,
    pub message: &'static str,
}

impl Deny {
    /// Headers that cannot be sent are left out; the wire has refused them already.
    pub fn new(response: &DenyResponse) -> Self {
        let DenyResponse { status, headers, body, redirect } = response;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
                map.append(name, value);
            }
        }
        let mut status = status.and_then(|status| StatusCode::from_u16(status).ok());
        if let Some(location) = redirect.as_ref().and_then(|location| HeaderValue::from_str(location).ok()) {
            map.insert(LOCATION, location);
            status = status.or(Some(StatusCode::FOUND));
        }
        Self { status, headers: map, body: body.clone() }
    }

    /// To a client that nobody vouches for, or that cannot be judged.
    pub fn unauthenticated(&self, reason: Reason, challenges: &[Challenge]) -> Denial {
        if reason.kind() == Kind::Unavailable {
            // Ours to mend, not the client's: what a policy says of strangers is not said.
            return Denial::plain(StatusCode::SERVICE_UNAVAILABLE, 14, reason.message());
        }
        let mut denial = Denial::plain(StatusCode::UNAUTHORIZED, 16, reason.message());
        for challenge in challenges {
            if let Some(value) = challenge.value(reason)
                && !denial.headers.get_all(WWW_AUTHENTICATE).iter().any(|other| *other == value)
            {
                denial.headers.append(WWW_AUTHENTICATE, value);
            }
        }
        self.complete(denial)
    }

    /// To a client that is known, and may not.
    pub fn unauthorized(&self, bearer: bool, missing_scopes: &[Box<str>]) -> Denial {
        let mut denial = Denial::plain(StatusCode::FORBIDDEN, 7, "access is denied");
        if bearer && !missing_scopes.is_empty() {
            let value = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", missing_scopes.join(" "));
            if let Some(value) =
                quotable(&missing_scopes.concat()).then(|| HeaderValue::from_str(&value).ok()).flatten()
            {
                denial.headers.insert(WWW_AUTHENTICATE, value);
            }
        }
        self.complete(denial)
    }

    fn complete(&self, mut denial: Denial) -> Denial {
        if let Some(status) = self.status {
            denial.status = status;
        }
        let mut replaced: Option<&HeaderName> = None;
        for (name, value) in &self.headers {
            if replaced != Some(name) {
                denial.headers.remove(name);
                replaced = Some(name);
            }
            denial.headers.append(name, value.clone());
        }
        denial.body.clone_from(&self.body);
        denial
    }
}

impl Denial {
    pub fn plain(status: StatusCode, grpc: u8, message: &'static str) -> Self {
        Self { status, grpc, headers: HeaderMap::new(), body: None, message }
    }
}

impl Challenge {
    /// An error is named only where a credential was shown (RFC 6750, 3.1).
    fn value(&self, reason: Reason) -> Option<HeaderValue> {
        let text = match self {
            Self::Bearer if reason.kind() == Kind::Missing => "Bearer".to_owned(),
            Self::Bearer => {
                let error = if matches!(reason, Reason::Malformed | Reason::TooLarge) {
                    "invalid_request"
                } else {
                    "invalid_token"
                };
                format!("Bearer error=\"{error}\", error_description=\"{}\"", reason.message())
            }
            Self::Basic(realm) if quotable(realm) => format!("Basic realm=\"{realm}\", charset=\"UTF-8\""),
            Self::Basic(_) => "Basic realm=\"\", charset=\"UTF-8\"".to_owned(),
            Self::ApiKey => "ApiKey".to_owned(),
            Self::Certificate => "Certificate".to_owned(),
            Self::None => return None,
        };
        HeaderValue::from_str(&text).ok()
    }
}

/// What may stand between quotes as it is.
fn quotable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}

impl Denial {
    /// Nobody who was let in, and could say who it is, is asked to.
    pub fn is_strangers(identity: Option<&Identity>, challenges: &[Challenge]) -> bool {
        let nobody = identity.is_none_or(|identity| !crate::identity::is_somebody(identity));
        nobody && challenges.iter().any(|challenge| *challenge != Challenge::None)
    }
}
