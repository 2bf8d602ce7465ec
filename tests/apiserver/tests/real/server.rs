//! The server is real: it authorises, it knows its definitions, and it ends with its owner.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use portcullis_apiserver::{ApiServer, Bundle, CrdSet, apply, apply_document, install, uninstall};
use serde_json::json;

use crate::SERVER;

const ACCOUNT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: rbac}]
";

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says_and_nothing_else() {
    apply(&SERVER.client(), "rbac", ACCOUNT).await;
    let reader = SERVER.client_as("rbac", "reader").await;
    Api::<ConfigMap>::namespaced(reader.clone(), "rbac").list(&Default::default()).await.unwrap();
    let refused = Api::<ServiceAccount>::namespaced(reader, "rbac").list(&Default::default()).await.unwrap_err();
    assert!(refused.to_string().contains("forbidden"), "{refused}");
}

#[tokio::test]
async fn a_token_for_an_audience_is_known_by_review() {
    let client = SERVER.client();
    apply(&client, "audience", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: plane}}").await;
    let token = SERVER.token_for("audience", "plane", &["portcullis.dev/controller"]).await;
    let review = |audience: &str| TokenReview {
        spec: TokenReviewSpec { token: Some(token.clone()), audiences: Some(vec![audience.to_owned()]) },
        ..Default::default()
    };
    let reviews: Api<TokenReview> = Api::all(client);
    let known = reviews.create(&PostParams::default(), &review("portcullis.dev/controller")).await.unwrap();
    let status = known.status.unwrap();
    assert_eq!(status.authenticated, Some(true), "{status:?}");
    assert_eq!(status.user.unwrap().username.as_deref(), Some("system:serviceaccount:audience:plane"));
    let strange = reviews.create(&PostParams::default(), &review("somebody.else")).await.unwrap();
    assert_ne!(strange.status.unwrap().authenticated, Some(true));
}

#[tokio::test]
async fn what_is_applied_is_read_strictly() {
    let client = SERVER.client();
    for (yaml, words) in [
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, dta: {}}", "dta"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b, a: c}}", "duplicate"),
        ("{apiVersion: v1, kind: ConfigMapp, metadata: {name: a}}", "does not know"),
        ("{replicas: 2}", "no kind"),
        ("{apiVersion: v1, kind: ConfigMap}", "metadata.name"),
    ] {
        let error = apply_document(&client, "strict", yaml).await.unwrap_err().to_string();
        assert!(error.contains(words), "{yaml}: {error}");
    }
}

#[tokio::test]
async fn kinds_may_come_and_go_and_the_server_ends_with_its_owner() {
    let server = ApiServer::start_with(&[CrdSet::Some(Bundle::V1_7_0, &["gatewayclasses", "gateways", "httproutes"])]);
    let client = server.client();
    let grants = || client.list_api_group_resources("gateway.networking.k8s.io/v1");
    let has_grants = async || grants().await.unwrap().resources.iter().any(|kind| kind.name == "referencegrants");
    assert!(!has_grants().await);
    let late = CrdSet::Some(Bundle::V1_7_0, &["referencegrants"]);
    install(&client, std::slice::from_ref(&late)).await;
    portcullis_apiserver::until("ReferenceGrant is discovered", async || {
        if has_grants().await { Ok(()) } else { Err("missing".to_owned()) }
    })
    .await;
    uninstall(&client, &late).await;
    portcullis_apiserver::until("ReferenceGrant is gone", async || {
        if has_grants().await { Err("there".to_owned()) } else { Ok(()) }
    })
    .await;

    let (kubeconfig, config) = (server.kubeconfig(), server.config());
    assert!(kubeconfig.exists());
    drop(server);
    assert!(!kubeconfig.exists(), "its files are gone");
    let refused = Client::try_from(config).unwrap().apiserver_version().await.unwrap_err();
    assert!(format!("{refused:?}").contains("onnect"), "{refused:?}");
}

#[tokio::test]
async fn the_kubeconfig_opens_the_server() {
    let text = std::fs::read_to_string(SERVER.kubeconfig()).unwrap();
    let mut kubeconfig = kube::config::Kubeconfig::from_yaml(&text).unwrap();
    let folder = SERVER.kubeconfig().parent().unwrap().to_owned();
    // As kubectl does: the file's folder is where its paths begin.
    let cluster = kubeconfig.clusters[0].cluster.as_mut().unwrap();
    cluster.certificate_authority = Some(folder.join("ca.crt").display().to_string());
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let version = Client::try_from(config).unwrap().apiserver_version().await.unwrap();
    assert_eq!(json!(version)["major"], "1");
}
