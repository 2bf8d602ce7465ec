//! What a gateway means, in our own words. No Kubernetes type, no clock, no I/O, no async: `Cargo.toml` is the proof.
//!
//! ```text
//! translate ─► Snapshot { config, live } ─► wire (encode / decode, diff / apply) ─► router (compile, find)
//! ```
//!
//! A resource mirrors an object that a user wrote and points *up* to its parent: a [`Route`] is one rule of an
//! HTTPRoute and names the listeners it is attached to. So an edited object is one small message.
//!
//! Two lanes (see `docs/concepts/versions.md`): [`Config`] is versioned, [`Live`] never waits and never comes back.

#[cfg(feature = "arbitrary")]
pub mod arbitrary;
mod backend;
mod certificate;
mod delta;
mod digest;
mod endpoints;
mod filter;
mod host;
mod key;
mod listener;
mod matches;
mod path;
mod pattern;
mod policy;
mod precedence;
mod route;
mod secret;
mod serialize;
mod snapshot;
mod stream;

pub use backend::{Backend, BackendTls, Protocol, Source, Target};
pub use certificate::Certificate;
pub use delta::{Change, Delta};
pub use digest::Digest;
pub use endpoints::{Endpoint, Endpoints};
pub use filter::{
    Cors, CorsNames, CorsOrigin, Filter, Fraction, HeaderEdits, Mirror, PathRewrite, Redirect, UrlRewrite,
};
pub use host::{Authority, Host, HostPattern, InvalidHost};
pub use key::{
    BackendKey, BackendKind, CertificateKey, GatewayKey, ListenerKey, ListenerSetKey, ResourceKey, RouteKey, RouteKind,
    Shared, Transport,
};
pub use listener::{ClientValidation, ClientValidationMode, Listener, ListenerProtocol, TlsTermination};
pub use matches::{HeaderMatch, Match, QueryMatch, StringMatch};
pub use path::{InvalidPath, PathMatch, PathView, grpc_method};
pub use pattern::{InvalidPattern, Pattern};
pub use policy::{
    Algorithm, ApiKeyHash, Auth, AuthMethod, AuthPolicy, Authorization, AuthorizationAction, AuthorizationRule,
    BrokenAuth, Calendar, CertificateRule, ClaimMatch, ConsumerSetKey, Cost, Credential, CredentialContent,
    CredentialKey, CredentialUse, DenyResponse, Discovery, EndpointUrl, Expression, ExternalAuth, ExternalAuthCache,
    ExternalAuthProtocol, FleetScope, IdentityHeader, IdentityOutput, IdentityValue, Introspection, Issuer, IssuerKey,
    JwtKeys, JwtMethod, KeyPart, Limit, LimitHeaders, LimitPeriod, LimitResponse, LimitRule, LimitScope, Limits,
    MethodKind, Oidc, OnMissingKey, OnStoreFailure, PolicyOrigin, PolicyTarget, Precision, Require, Store,
    StoreConnection, StoreKey, StoreMode, StoreTls, Tier, Tiers, TokenSource, Xfcc,
};
pub use precedence::{PathRank, Precedence};
pub use route::{
    Action, Attachment, Failure, Retry, Route, RouteHostname, SessionCarrier, SessionPersistence, Timeouts,
    WeightedBackend,
};
pub use secret::Secret;
pub use snapshot::{Config, Live, Resource, Snapshot, Table};
pub use stream::{StreamBackend, StreamRoute};
