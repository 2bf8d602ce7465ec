//! Policies as they are in force: merged by `translate`, per listener and, where a rule differs from its listener, per
//! rule. Everything that decides is here; nothing is inherited any more when a data plane reads it.

mod auth;
mod credential;
mod issuer;
mod limit;
mod method;
mod origin;
mod store;

pub use auth::{
    Auth, AuthPolicy, Authorization, AuthorizationAction, AuthorizationRule, BrokenAuth, ClaimMatch, DenyResponse,
    ExternalAuth, ExternalAuthCache, ExternalAuthProtocol, IdentityHeader, IdentityOutput, IdentityValue, Xfcc,
};
pub use credential::{ApiKeyHash, ConsumerSetKey, Credential, CredentialContent, CredentialKey, CredentialUse};
pub use issuer::{Discovery, Issuer, IssuerKey};
pub use limit::{
    Calendar, Cost, FleetScope, KeyPart, Limit, LimitHeaders, LimitPeriod, LimitResponse, LimitRule, LimitScope,
    Limits, OnMissingKey, OnStoreFailure, Precision, Tier, Tiers,
};
pub use method::{
    Algorithm, AuthMethod, CertificateRule, EndpointUrl, Introspection, JwtKeys, JwtMethod, MethodKind, Oidc, Require,
    TokenSource,
};
pub use origin::{Expression, PolicyOrigin, PolicyTarget};
pub use store::{Store, StoreConnection, StoreKey, StoreMode, StoreTls};
