use portcullis_ir::{ResourceKey, RouteKey};

use super::plane::{Plane, free_port, get, loopback, settings};
use super::resources::{http, redirect};

#[tokio::test]
async fn figures_are_told_to_a_server_that_asks_for_them() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    plane.put([http("web", port), redirect("shop", &["web"], "to.example")]).await;
    let key = ResourceKey::Route(RouteKey::http("ns", "shop", 0));
    plane.observe(vec![key.clone()], 100).await;
    // What was counted before the question was heard is not told: the first report says that it was.
    assert!(plane.health().await.resources.is_empty());
    // A request may be over before the question has been read; then it is the next one that is told.
    let health = loop {
        get(loopback(port), "/").await;
        let health = plane.health().await;
        if !health.resources.is_empty() {
            break health;
        }
    };
    assert_eq!(health.version.number, 1);
    let [(named, figures)] = &health.resources[..] else { panic!("{health:?}") };
    assert_eq!((named, figures.backend_errors), (&key, 0));
    assert!(figures.requests > 0);
    plane.stop().await;
}
