//! The proxy does what it is told, and tells what was done.

use futures::{StreamExt, TryStreamExt, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, Config};
use portcullis_apiserver::{Call, Fault, FaultProxy, Gate, Verb, ensure_namespace, until};
use serde_json::json;

use crate::SERVER;

/// A proxy, and config maps of a namespace through it; without the client's own retries, so that faults are seen.
async fn through(namespace: &str) -> (FaultProxy, Api<ConfigMap>) {
    ensure_namespace(&SERVER.client(), namespace).await;
    let proxy = FaultProxy::start(SERVER.config());
    let api = Api::namespaced(impatient(proxy.config()), namespace);
    (proxy, api)
}

fn impatient(config: Config) -> Client {
    let mut config = config;
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

fn code<T: std::fmt::Debug>(answer: kube::Result<T>) -> u16 {
    match answer.unwrap_err() {
        kube::Error::Api(status) => status.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn calls_reach_the_server_and_are_counted() {
    let (proxy, api) = through("counted").await;
    let mark = proxy.mark();
    api.create(&PostParams::default(), &config_map("a")).await.unwrap();
    api.list(&ListParams::default()).await.unwrap();
    api.patch("a", &PatchParams::apply("x"), &Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap"})))
        .await
        .unwrap();
    api.get("a").await.unwrap();
    assert_eq!(code(api.get("b").await), 404);
    let calls: Vec<_> = proxy.calls_since(mark).into_iter().map(|call| (call.verb, call.answer)).collect();
    assert_eq!(
        calls,
        [
            (Verb::Create, Some(201)),
            (Verb::List, Some(200)),
            (Verb::Patch, Some(200)),
            (Verb::Get, Some(200)),
            (Verb::Get, Some(404))
        ]
    );
    let writes = proxy.writes_since(mark);
    assert_eq!(writes.len(), 2);
    assert!(writes[1].is_about("configmaps", "counted", "a"));
}

#[tokio::test]
async fn faults_are_met_so_many_times_by_those_they_are_meant_for() {
    let (proxy, api) = through("faults").await;
    proxy.inject(2, Fault::Status(500), |call| call.verb == Verb::Get);
    proxy.inject(1, Fault::TooManyRequests { retry_after: 0 }, |call| call.verb == Verb::List);
    proxy.inject(1, Fault::Gone, |call| call.verb == Verb::List);
    assert_eq!(code(api.get("a").await), 500);
    assert_eq!(code(api.list(&ListParams::default()).await), 429);
    assert_eq!(code(api.list(&ListParams::default()).await), 410);
    assert_eq!(code(api.get("a").await), 500);
    assert_eq!(code(api.get("a").await), 404);
    api.list(&ListParams::default()).await.unwrap();
    proxy.inject(1, Fault::Status(500), |_| true);
    proxy.heal();
    api.list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn a_cut_answer_is_done_and_a_cut_call_is_not() {
    let (proxy, api) = through("cuts").await;
    proxy.inject(1, Fault::Cut, Call::is_write);
    proxy.inject(1, Fault::CutAnswer, Call::is_write);
    let mark = proxy.mark();
    api.create(&PostParams::default(), &config_map("a")).await.unwrap_err();
    api.create(&PostParams::default(), &config_map("b")).await.unwrap_err();
    assert_eq!(proxy.writes_since(mark).iter().map(|call| call.answer).collect::<Vec<_>>(), [None, None]);
    assert_eq!(code(api.get("a").await), 404);
    api.get("b").await.unwrap();
}

#[tokio::test]
async fn a_call_waits_before_a_gate() {
    let (proxy, api) = through("gates").await;
    let gate = Gate::new();
    proxy.inject(1, Fault::Hold(gate.clone()), Call::is_write);
    let creating = tokio::spawn({
        let api = api.clone();
        async move { api.create(&PostParams::default(), &config_map("a")).await }
    });
    gate.reached().await;
    assert_eq!(code(api.get("a").await), 404);
    gate.open();
    creating.await.unwrap().unwrap();
    api.get("a").await.unwrap();
}

#[tokio::test]
async fn watches_flow_and_end_closed_or_expired() {
    let (proxy, api) = through("watches").await;
    let begin = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    for expire in [false, true] {
        let watch = api.watch(&WatchParams::default(), &begin).await.unwrap();
        pin_mut!(watch);
        let name = format!("expire-{expire}");
        api.create(&PostParams::default(), &config_map(&name)).await.unwrap();
        loop {
            match watch.try_next().await.unwrap() {
                Some(WatchEvent::Added(object)) if object.metadata.name.as_deref() == Some(&*name) => break,
                Some(WatchEvent::Added(_) | WatchEvent::Bookmark(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        // Somebody else's order changes nothing.
        proxy.close_watches(|call| call.resource == "secrets");
        if expire {
            proxy.expire_watches(|call| call.resource == "configmaps");
            match watch.try_next().await.unwrap() {
                Some(WatchEvent::Error(status)) => assert_eq!(status.code, 410),
                other => panic!("{other:?}"),
            }
        } else {
            proxy.close_watches(|call| call.resource == "configmaps");
        }
        assert!(watch.next().await.is_none());
    }
}

#[tokio::test]
async fn the_server_can_be_away_for_a_while() {
    let (proxy, api) = through("away").await;
    let watch = api.watch(&WatchParams::default(), "0").await.unwrap();
    pin_mut!(watch);
    proxy.go_away().await;
    let refused = api.list(&ListParams::default()).await.unwrap_err();
    assert!(format!("{refused:?}").contains("onnect"), "{refused:?}");
    // Open watches are cut, however much they had still to say.
    while let Some(Ok(_)) = watch.next().await {}
    proxy.come_back();
    until("the server is back", async || {
        api.list(&ListParams::default()).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn the_journal_can_be_waited_for() {
    let (proxy, api) = through("journal").await;
    let mark = proxy.mark();
    let asking = tokio::spawn(async move {
        for _ in 0..3 {
            api.list(&ListParams::default()).await.unwrap();
        }
    });
    proxy.saw(mark, 3, |call| call.verb == Verb::List).await;
    asking.await.unwrap();
    assert_eq!(proxy.calls_since(mark).len(), 3);
}
