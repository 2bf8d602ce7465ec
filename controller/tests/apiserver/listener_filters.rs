//! Filters of listeners (GEP-5224), as definitions of 1.7 carry them.

use portcullis_apiserver::{ApiServer, Bundle, CrdSet};
use serde_json::{Value, json};

use crate::support::World;

fn filters(filter: &Value) -> Value {
    json!({"spec": {"listeners": [
        {"name": "http", "port": 80, "protocol": "HTTP", "filters": {"requests": [filter]}},
    ]}})
}

fn asks(service: &str, headers: &[&str]) -> Value {
    json!({"type": "ExternalAuth", "externalAuth": {
        "protocol": "HTTP", "backendRef": {"name": service, "port": 80}, "http": {"allowedResponseHeaders": headers},
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_says_what_becomes_of_its_filters_and_follows_what_they_name() {
    let server = ApiServer::start_with(&[CrdSet::Experimental(Bundle::V1_7_0), CrdSet::Portcullis]);
    let world = World::on("filtered", server).await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    for (filter, expected) in [
        (asks("missing", &[]), "ResolvedRefs=False:InvalidListenerFilterRef"),
        (asks("web", &["x-tenant"]), "ResolvedRefs=True:ResolvedRefs"),
        (asks("web", &["host"]), "Accepted=False:InvalidListenerFilter"),
        (
            json!({"type": "ExtensionRef", "extensionRef": {"group": "example.com", "kind": "Claims", "name": "a"}}),
            "Accepted=False:UnsupportedValue",
        ),
        (asks("web", &[]), "Accepted=True:Accepted"),
    ] {
        world.service().await;
        world.patch("Gateway", "gw", filters(&filter)).await;
        world.listener_settles("gw", "http", expected).await;
    }
    world.delete("Service", "web").await;
    world.listener_settles("gw", "http", "ResolvedRefs=False:InvalidListenerFilterRef").await;
    let published = world.appears("GatewayClass", "filtered").await;
    assert!(published["status"]["supportedFeatures"].to_string().contains("GatewayListenerFilters"), "{published}");
    running.shutdown().await;
}
