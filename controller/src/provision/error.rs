//! Why a Gateway does not have what it should, in words that say what to do: they stand in its status.

use super::live::{ObjectKey, PATIENCE};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProvisionError {
    #[error("{object} is not ours and stays as it is: {why}; delete or rename it, or rename the Gateway")]
    NotOurs { object: String, why: &'static str },
    #[error("{object} is being deleted; it is made again once it is gone")]
    Ending { object: String },
    #[error(
        "the controller may not {verb} {object}: {message}; give its ServiceAccount the rights of the chart's ClusterRole"
    )]
    Forbidden { object: String, verb: &'static str, message: String },
    #[error("{object} exceeds a quota: {message}; raise the ResourceQuota, or ask for less in GatewayParameters")]
    Quota { object: String, message: String },
    #[error("{object} is refused by an admission policy: {message}; allow it, or change GatewayParameters")]
    Denied { object: String, message: String },
    #[error(
        "{object} cannot be changed in this way: {message}; delete it and it is made anew, or take the change back"
    )]
    Immutable { object: String, message: String },
    #[error("{object} is not valid: {message}; correct GatewayParameters or spec.infrastructure")]
    Invalid { object: String, message: String },
    #[error("{object} could not be written: {message}; it is tried again")]
    Unavailable { object: String, message: String },
}

/// What was tried.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    Get,
    Patch,
    Delete,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

impl ProvisionError {
    pub(super) fn of(key: &ObjectKey, verb: Verb, error: kube::Error) -> Self {
        let object = key.to_string();
        let kube::Error::Api(status) = error else {
            return Self::Unavailable { object, message: error.to_string() };
        };
        let message = status.message.clone();
        match status.code {
            403 if message.contains("exceeded quota") => Self::Quota { object, message },
            // The words of the API server's authorizer; what else is forbidden, an admission plugin forbids.
            403 if message.contains(" cannot ") => Self::Forbidden { object, verb: verb.as_str(), message },
            403 if message.contains("being terminated") => Self::Ending { object },
            403 => Self::Denied { object, message },
            400 | 422 if message.contains("immutable") || message.contains("may not change once set") => {
                Self::Immutable { object, message }
            }
            400 if message.contains("denied the request") => Self::Denied { object, message },
            400 | 422 => Self::Invalid { object, message },
            _ => Self::Unavailable { object, message },
        }
    }

    pub(super) fn no_answer(key: &ObjectKey) -> Self {
        let message = format!("the API server did not answer within {PATIENCE:?}");
        Self::Unavailable { object: key.to_string(), message }
    }

    pub(super) fn unwritable(key: &ObjectKey, error: &serde_json::Error) -> Self {
        Self::Invalid { object: key.to_string(), message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use portcullis_ir::GatewayKey;
    use portcullis_provision::Kind;

    use super::*;

    #[test]
    fn each_answer_of_the_api_server_names_the_object_and_what_to_do() {
        let key =
            ObjectKey { gateway: GatewayKey::new("shop", "web"), kind: Kind::Service, name: "portcullis-web".into() };
        for (code, message, fix) in [
            (403, r#"services "portcullis-web" is forbidden: exceeded quota: few"#, "raise the ResourceQuota"),
            (
                403,
                r#"services "portcullis-web" is forbidden: User "x" cannot patch resource "services""#,
                "ClusterRole",
            ),
            (403, r#"services "portcullis-web" is forbidden: no external IPs"#, "allow it"),
            (403, "unable to create new content in namespace shop because it is being terminated", "once it is gone"),
            (422, "spec.loadBalancerClass: Invalid value: may not change once set", "made anew"),
            (422, "spec.selector: Invalid value: field is immutable", "made anew"),
            (422, "spec.ports: Invalid value", "correct GatewayParameters"),
            (500, "etcdserver: request timed out", "tried again"),
        ] {
            let error = kube::Error::Api(Status::failure(message, "").with_code(code).boxed());
            let said = ProvisionError::of(&key, Verb::Patch, error).to_string();
            assert!(
                said.starts_with("Service shop/portcullis-web") || said.contains(" Service shop/portcullis-web"),
                "{said}"
            );
            assert!(said.contains(fix), "{said}");
        }
    }
}
