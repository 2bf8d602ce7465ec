//! What was spent of a limit is a data plane's, whatever becomes of the controllers.

use std::sync::Arc;
use std::time::Duration;

use crate::support::gateway::{gateway, listener, route, snapshot};
use crate::support::plane::{Plane, request};
use crate::support::replica::{Replica, ca};
use crate::support::until_in_force;
use crate::support::wire::Wire;
use portcullis_ir::{
    Calendar, Cost, Limit, LimitPeriod, LimitResponse, LimitRule, LimitScope, Limits, OnMissingKey, PolicyOrigin,
    PolicyTarget, Resource, Snapshot,
};

/// Three requests, and no more for as long as a test can last.
fn rule(name: &str, period: LimitPeriod) -> LimitRule {
    LimitRule {
        name: name.into(),
        origin: PolicyOrigin {
            namespace: "team".into(),
            name: "fair-use".into(),
            uid: "1b4e28ba".into(),
            target: PolicyTarget::Gateway(gateway()),
        },
        shared: false,
        matches: Vec::new(),
        when: Vec::new(),
        key: Vec::new(),
        on_missing_key: OnMissingKey::SharedBucket,
        limits: vec![Limit { requests: 3, period, burst: None }],
        tiers: None,
        scope: LimitScope::Replica,
        shadow: false,
        cost: Cost::Units(1),
        response: LimitResponse::default(),
    }
}

/// Made anew by every controller, as from the same objects.
fn limited(port: u16, further: impl IntoIterator<Item = Resource>) -> Snapshot {
    let Resource::Listener(plain) = listener(port) else { unreachable!("it is a listener") };
    let window = LimitPeriod::Window(Duration::from_secs(744 * 3600));
    let rules = vec![rule("quota", LimitPeriod::Calendar(Calendar::Month)), rule("window", window)];
    let limited = portcullis_ir::Listener { limits: Some(Arc::new(Limits { rules })), ..(*plain).clone() };
    snapshot([Resource::Listener(Arc::new(limited)), route(1, 1)].into_iter().chain(further))
}

/// 500: it was let pass, and there is no backend.
async fn status(port: u16) -> String {
    let answer = request(port, "/1/1").await;
    answer.split(' ').nth(1).unwrap().to_owned()
}

async fn left(plane: &Plane, rule: &str) -> u64 {
    let page = plane.page(&format!("/quotas?rule={rule}")).await;
    let (_, after) = page.split_once("\"remaining\": ").unwrap_or_else(|| panic!("{page}"));
    after.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_restarted_refills_nothing() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let material = ca();
    let first = Replica::start(1, &material).await;
    first.publisher.publish(&gateway(), &limited(port, []));
    let wire = Wire::start(Some(first.address)).await;
    let plane = Plane::start("a", wire.address, &first.pki);
    until_in_force(&first.publisher, &gateway(), "a").await;
    assert_eq!([status(port).await, status(port).await], ["500", "500"]);

    // Killed, and another one that has seen the same objects.
    wire.lead(None);
    first.stop().await;
    assert_eq!([left(&plane, "window").await, left(&plane, "quota").await], [1, 1]);
    let second = Replica::start(2, &material).await;
    second.publisher.publish(&gateway(), &limited(port, []));
    wire.lead(Some(second.address));
    until_in_force(&second.publisher, &gateway(), "a").await;
    assert_eq!(second.sent(), (0, 0), "the same state is not sent again");
    assert_eq!([left(&plane, "window").await, left(&plane, "quota").await], [1, 1]);

    // And one that has something new to tell, and tells it all: it knows nothing of what the data plane has.
    wire.lead(None);
    second.stop().await;
    let third = Replica::start(3, &material).await;
    third.publisher.publish(&gateway(), &limited(port, [route(2, 1)]));
    wire.lead(Some(third.address));
    until_in_force(&third.publisher, &gateway(), "a").await;
    assert_eq!(third.sent(), (1, 0), "a whole snapshot");
    assert_eq!([left(&plane, "window").await, left(&plane, "quota").await], [1, 1]);
    assert_eq!([status(port).await, status(port).await, status(port).await], ["500", "429", "429"]);
    plane.stop().await;
    third.stop().await;
}
