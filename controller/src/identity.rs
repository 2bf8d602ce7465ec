//! Which pod a ServiceAccount token speaks for, asked of the API server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::api::PostParams;
use kube::{Api, Client};
use portcullis_ir::GatewayKey;
use portcullis_publish::{Denied, Identify, PodIdentity};
use tokio::time::timeout;

/// Tokens must be made for us alone: one that a pod has for the API server is of no use here.
pub(crate) const AUDIENCE: &str = "portcullis.dev/controller";

/// Extra of a bound token (`TokenReviewStatus.user.extra`).
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct TokenReviews {
    client: Client,
}

impl TokenReviews {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl Identify for TokenReviews {
    async fn identify(&self, token: &str, gateway: &GatewayKey) -> Result<PodIdentity, Denied> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![AUDIENCE.to_owned()]) },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = match timeout(TIMEOUT, api.create(&PostParams::default(), &review)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(Denied::Unavailable(error.to_string())),
            Err(_) => return Err(Denied::Unavailable("the API server does not answer".to_owned())),
        };
        let status = answer.status.unwrap_or_default();
        let for_us = status.audiences.iter().flatten().any(|audience| audience == AUDIENCE);
        if status.authenticated != Some(true) || !for_us {
            let why = status.error.filter(|error| !error.is_empty()).unwrap_or_else(|| "not authenticated".to_owned());
            return Err(Denied::Token(why));
        }
        judge(&status.user.unwrap_or_default(), gateway)
    }
}

/// The pod must run as the ServiceAccount that we made for the Gateway, in its namespace.
fn judge(user: &UserInfo, gateway: &GatewayKey) -> Result<PodIdentity, Denied> {
    let name = user.username.as_deref().unwrap_or_default();
    let account = portcullis_provision::resource_name(&gateway.namespace, &gateway.name);
    let expected = format!("system:serviceaccount:{}:{account}", gateway.namespace);
    if name != expected {
        return Err(Denied::Gateway(format!("it is {name:?}, and Gateway {gateway} is for {expected:?}")));
    }
    let pod = user.extra.as_ref().and_then(|extra| extra.get(POD_NAME)?.first());
    let pod = pod.ok_or_else(|| Denied::Token("it is not bound to a pod".to_owned()))?;
    Ok(PodIdentity { namespace: Arc::clone(&gateway.namespace), pod: pod.as_str().into() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn user(name: &str, pod: Option<&str>) -> UserInfo {
        let extra = pod.map(|pod| [(POD_NAME.to_owned(), vec![pod.to_owned()])].into());
        UserInfo { username: Some(name.to_owned()), extra, ..UserInfo::default() }
    }

    #[test]
    fn only_pods_of_the_gateways_own_account_are_let_in() {
        let gateway = GatewayKey::new("team", "web");
        let own = format!("system:serviceaccount:team:{}", portcullis_provision::resource_name("team", "web"));
        assert_eq!(&*judge(&user(&own, Some("p-1")), &gateway).unwrap().pod, "p-1");
        assert!(matches!(judge(&user(&own, None), &gateway), Err(Denied::Token(_))));
        for other in [own.replace("team", "other"), "system:serviceaccount:team:default".to_owned(), String::new()] {
            assert!(matches!(judge(&user(&other, Some("p-1")), &gateway), Err(Denied::Gateway(_))), "{other}");
        }
    }
}
