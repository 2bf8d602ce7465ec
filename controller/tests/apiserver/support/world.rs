//! A test's own corner of the server.

use std::sync::LazyLock;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use portcullis_apiserver::{ApiServer, Bundle, CrdSet, FaultProxy, apply, ensure_namespace, until};
use serde_json::{Value, json};

use super::Running;
use super::controller::Replica;
use super::objects::{self, resource};
use super::rights;

static SERVER: LazyLock<ApiServer> =
    LazyLock::new(|| ApiServer::start_with(&[CrdSet::Standard(Bundle::V1_6_3), CrdSet::Portcullis]));

/// A namespace and a GatewayClass of one name, and the controller's own namespace beside it.
pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) controller_name: String,
    /// The administrator, past every proxy.
    pub(crate) client: Client,
    config: kube::Config,
    /// A server of the test's own.
    server: Option<ApiServer>,
}

impl World {
    /// On the shared server.
    pub(crate) async fn new(name: &'static str) -> Self {
        Self::with(name, SERVER.config(), None).await
    }

    /// On a server of its own, which must know GatewayClass.
    pub(crate) async fn on(name: &'static str, server: ApiServer) -> Self {
        Self::with(name, server.config(), Some(server)).await
    }

    async fn with(name: &'static str, config: kube::Config, server: Option<ApiServer>) -> Self {
        let client = Client::try_from(config.clone()).unwrap();
        let world = Self { name, controller_name: format!("test.portcullis.dev/{name}"), client, config, server };
        ensure_namespace(&world.client, &world.system()).await;
        world.apply(&objects::class(name, &world.controller_name)).await;
        world
    }

    /// Where the controller keeps its lease and its CA.
    pub(crate) fn system(&self) -> String {
        format!("{}-system", self.name)
    }

    /// A way to the server that can be broken.
    pub(crate) fn proxy(&self) -> FaultProxy {
        FaultProxy::start(self.config.clone())
    }

    /// The way to the server of an account that may do no more than the chart says.
    pub(crate) async fn proxy_with_the_charts_rights(&self) -> FaultProxy {
        let system = self.system();
        self.apply(&rights::objects(self.name, &system)).await;
        let server = self.server.as_ref().unwrap_or(&SERVER);
        let config = server.config_with_token(&server.token_for(&system, rights::ACCOUNT, &[]).await);
        // The server takes a moment to know of new rights.
        let services: Api<Service> = Api::all(Client::try_from(config.clone()).unwrap());
        let leases: Api<Lease> = Api::namespaced(Client::try_from(config.clone()).unwrap(), &system);
        until("the rights are in force", async || {
            services.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let lease = leases.get_opt("portcullis-controller").await;
            lease.map(drop).map_err(|error| error.to_string())
        })
        .await;
        FaultProxy::start(config)
    }

    /// A controller alone, that leads and has made its first pass; behind a proxy.
    pub(crate) async fn controller(&self) -> (Running, FaultProxy) {
        let proxy = self.proxy();
        let running = self.replica(&proxy, "a").await;
        running.leads().await;
        running.is_ready().await;
        (running, proxy)
    }

    pub(crate) async fn replica(&self, proxy: &FaultProxy, pod: &str) -> Running {
        let system = self.system();
        let replica = Replica { controller_name: &self.controller_name, namespace: &system, pod };
        Running::start(proxy.client(), replica).await
    }

    /// Applies objects into the world's namespace; CLASS stands for the class.
    pub(crate) async fn apply(&self, yaml: &str) {
        apply(&self.client, self.name, &yaml.replace("CLASS", self.name)).await;
    }

    /// A Gateway of one HTTP listener, called `gw`.
    pub(crate) async fn gateway(&self) {
        self.apply(objects::GATEWAY).await;
    }

    /// A Service with an endpoint, called `web`.
    pub(crate) async fn service(&self) {
        self.apply(objects::SERVICE).await;
    }

    /// A route of `gw` to `web`, for one path.
    pub(crate) async fn route(&self, name: &str, path: &str) {
        self.apply(&objects::route(name, path)).await;
    }

    pub(crate) fn api(&self, kind: &str) -> Api<DynamicObject> {
        self.api_in(self.name, kind)
    }

    pub(crate) fn api_in(&self, namespace: &str, kind: &str) -> Api<DynamicObject> {
        let resource = resource(kind);
        match kind {
            "GatewayClass" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    pub(crate) fn definitions(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.client.clone())
    }

    pub(crate) async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.api(kind).get_opt(name).await.unwrap().map(|object| json!(object))
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        self.api(kind).delete(name, &DeleteParams::background()).await.unwrap();
    }

    /// Merges into an object.
    pub(crate) async fn patch(&self, kind: &str, name: &str, patch: Value) {
        self.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Merges into an object's status, as others would.
    pub(crate) async fn patch_status(&self, kind: &str, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        self.api(kind).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Waits until a condition of ours is as told ("Accepted=True", "ResolvedRefs=False:RefNotPermitted") and speaks of
    /// the object's newest generation; returns it. For a route it is the one of our parents.
    pub(crate) async fn settles(&self, kind: &str, name: &str, expected: &str) -> Value {
        self.settles_at(kind, name, "", expected).await
    }

    /// `settles`, for a listener of a Gateway.
    pub(crate) async fn listener_settles(&self, gateway: &str, listener: &str, expected: &str) -> Value {
        self.settles_at("Gateway", gateway, listener, expected).await
    }

    async fn settles_at(&self, kind: &str, name: &str, listener: &str, expected: &str) -> Value {
        until(&format!("{kind} {name} {listener} {expected}"), async || {
            let object = self.get(kind, name).await.ok_or_else(|| "gone".to_owned())?;
            let conditions = objects::conditions(&object, listener, &self.controller_name);
            let found = conditions.iter().find(|condition| objects::is(condition, &object, expected));
            found.cloned().ok_or_else(|| format!("{}", json!(conditions)))
        })
        .await
    }

    /// Waits until something holds of an object.
    pub(crate) async fn until(&self, kind: &str, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{kind} {name}: {what}"), async || {
            let object = self.get(kind, name).await.ok_or_else(|| "not there".to_owned())?;
            if holds(&object) { Ok(object) } else { Err(object.to_string()) }
        })
        .await
    }

    /// Waits until an object is there.
    pub(crate) async fn appears(&self, kind: &str, name: &str) -> Value {
        self.until(kind, name, "there", |_| true).await
    }
}
