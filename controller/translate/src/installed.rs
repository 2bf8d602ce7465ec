//! Which Gateway API the cluster has: what its definitions say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::Kind;
use crate::condition::{ConditionType, Reason, Verdict};
use crate::features;

/// What the annotation of a definition calls the release that it is of.
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";
const CHANNEL: &str = "gateway.networking.k8s.io/channel";
const EXPERIMENTAL: &str = "experimental";

/// The oldest and the newest release that are supported, whatever their patch.
pub(crate) const OLDEST: Release = Release::new(6, 0);
pub(crate) const NEWEST: Release = Release::new(7, 0);

/// The kinds of the Gateway API that are read.
pub const GATEWAY_API: [Kind; 10] = [
    Kind::GatewayClass,
    Kind::Gateway,
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::TlsRoute,
    Kind::TcpRoute,
    Kind::UdpRoute,
    Kind::ListenerSet,
    Kind::BackendTlsPolicy,
    Kind::ReferenceGrant,
];

/// The definitions of the Gateway API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Installed {
    /// There is no cluster: objects are read as the newest release defines them.
    #[default]
    BuiltIn,
    /// Nobody may read them, and why.
    Unreadable(Arc<str>),
    /// Those that are there.
    Definitions(BTreeMap<Kind, Definition>),
}

/// One definition, by its annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// As written: `v1.6.3`.
    pub bundle: Option<Arc<str>>,
    /// As written: `standard` or `experimental`.
    pub channel: Option<Arc<str>>,
}

/// A release of the Gateway API's first major version; what stands behind a hyphen does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release {
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl Definition {
    /// By the annotations of a CustomResourceDefinition.
    pub fn of(annotations: Option<&BTreeMap<String, String>>) -> Self {
        let text = |name: &str| annotations.and_then(|all| all.get(name)).map(|text| Arc::from(text.as_str()));
        Self { bundle: text(BUNDLE_VERSION), channel: text(CHANNEL) }
    }

    /// None: it says none, or one that nobody knows.
    pub(crate) fn release(&self) -> Option<Release> {
        self.bundle.as_deref().and_then(Release::parse)
    }

    pub(crate) fn is_experimental(&self) -> bool {
        self.channel.as_deref() == Some(EXPERIMENTAL)
    }
}

impl Installed {
    /// Whether an address of a Gateway can say where it is reached from (GEP-5093).
    pub fn has_routability(&self) -> bool {
        features::supported(self, &BTreeSet::new()).contains(&features::ROUTABILITY)
    }

    /// "If implementations detect any Gateway API CRDs that either do not have this annotation set, or have it set to a
    /// version that is not recognized or supported by the implementation, this condition MUST be set to false."
    /// (`GatewayClassConditionStatusSupportedVersion`). None where there are no definitions.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let kind = ConditionType::SupportedVersion;
        let supported = format!("v1.{} and v1.{}", OLDEST.minor, NEWEST.minor);
        let definitions = match self {
            Self::BuiltIn => return None,
            Self::Unreadable(why) => {
                let message = format!(
                    "which release is installed cannot be read: {why}; allow the controller to list and watch the \
                     CustomResourceDefinitions of the Gateway API (see docs/reference/rbac.md). Supported are {supported}"
                );
                return Some(Verdict::no(kind, Reason::UnsupportedVersion, message));
            }
            Self::Definitions(definitions) => definitions,
        };
        let is_supported = |one: &Definition| {
            one.release().is_some_and(|release| (OLDEST.minor..=NEWEST.minor).contains(&release.minor))
        };
        let unsupported: Vec<String> = (definitions.iter().filter(|(_, one)| !is_supported(one)))
            .map(|(kind, one)| format!("{kind}: {one}"))
            .collect();
        if unsupported.is_empty() {
            let versions: BTreeSet<String> = definitions.values().map(ToString::to_string).collect();
            let versions = versions.into_iter().collect::<Vec<_>>().join(", ");
            let message = format!("Gateway API {versions} is installed");
            return Some(Verdict::yes(kind, Reason::SupportedVersion, message));
        }
        let message = format!(
            "installed are definitions of other releases than {supported} ({}); they are served as far as they are \
             understood. Install a supported release of the Gateway API",
            unsupported.join(", ")
        );
        Some(Verdict::no(kind, Reason::UnsupportedVersion, message))
    }
}

impl Release {
    pub(crate) const fn new(minor: u32, patch: u32) -> Self {
        Self { minor, patch }
    }

    fn parse(text: &str) -> Option<Self> {
        let numbers = text.strip_prefix("v1.")?;
        let (minor, patch) = numbers.split('-').next()?.split_once('.')?;
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        Some(Self { minor: number(minor)?, patch: number(patch)? })
    }
}

/// For messages: `v1.6.3 (standard)`.
impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bundle, channel } = self;
        f.write_str(bundle.as_deref().unwrap_or("no version"))?;
        match channel {
            Some(channel) => write!(f, " ({channel})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::State;

    #[test]
    fn a_release_is_what_the_project_writes_and_nothing_else() {
        assert_eq!(Release::parse("v1.6.3"), Some(Release::new(6, 3)));
        assert_eq!(Release::parse("v1.7.0-rc.2"), Some(Release::new(7, 0)));
        assert_eq!(Release::parse("v1.10.12"), Some(Release::new(10, 12)));
        for unknown in
            ["", "1.6.3", "v1", "v1.6", "v1.6.", "v1..3", "v0.8.1", "v2.0.0", "v1.+6.3", "main", "v1.6.99999999999"]
        {
            assert_eq!(Release::parse(unknown), None, "{unknown}");
        }
        assert!(Release::new(6, 3) < Release::new(7, 0) && Release::new(6, 3) > Release::new(6, 2));
    }

    #[test]
    fn the_condition_names_what_is_installed_and_what_is_supported() {
        let definition =
            |bundle: Option<&str>| Definition { bundle: bundle.map(Arc::from), channel: Some("standard".into()) };
        let verdict = |routes: Option<&str>| {
            let of = [(Kind::Gateway, definition(Some("v1.7.0"))), (Kind::HttpRoute, definition(routes))];
            let verdict = Installed::Definitions(BTreeMap::from(of)).verdict();
            verdict.map(|one| (one.state, one.message.into_owned())).unwrap_or((State::Unknown, String::new()))
        };
        let supported = (State::True, "Gateway API v1.6.3 (standard), v1.7.0 (standard) is installed".to_owned());
        assert_eq!(verdict(Some("v1.6.3")), supported);
        for (routes, named) in [(None, "HTTPRoute: no version (standard)"), (Some("v1.5.1"), "HTTPRoute: v1.5.1")] {
            let (state, message) = verdict(routes);
            assert_eq!(state, State::False);
            assert!(message.contains(named) && message.contains("v1.6 and v1.7"), "{message}");
            assert!(!message.contains("Gateway: "), "{message}");
        }
        assert_eq!(verdict(Some("v1.8.0")).0, State::False);
        assert_eq!(Installed::BuiltIn.verdict(), None);
        let unreadable = Installed::Unreadable("forbidden".into()).verdict();
        assert!(unreadable.is_some_and(|one| one.state == State::False && one.message.contains("forbidden")));
    }

    #[test]
    fn every_kind_of_the_gateway_api_is_named() {
        let of_group = |kind: &&Kind| kind.api_version().starts_with("gateway.networking.k8s.io/");
        assert!(GATEWAY_API.iter().eq(Kind::ALL.iter().filter(of_group)));
    }

    #[test]
    fn annotations_are_taken_as_they_are() {
        let annotations = BTreeMap::from([
            (BUNDLE_VERSION.to_owned(), "v1.6.3".to_owned()),
            (CHANNEL.to_owned(), "experimental".to_owned()),
        ]);
        let definition = Definition::of(Some(&annotations));
        assert_eq!((definition.release(), definition.is_experimental()), (Some(Release::new(6, 3)), true));
        assert_eq!(definition.to_string(), "v1.6.3 (experimental)");
        assert_eq!(Definition::of(None).to_string(), "no version");
    }
}
