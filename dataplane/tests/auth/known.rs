//! Who is known already goes a shorter way. It ends where the longer one does.

use portcullis_ir as ir;

use crate::support::Client;
use crate::world::{
    SIGNER, World, api_key, ask_on, authorization, claims, consumer, enforce, extra, jwt, policy, sha256,
};

/// Whoever shows a key is let pass, and whose token has the scope.
fn rules() -> Option<ir::Authorization> {
    let rule = |name: &str, scopes: Vec<Box<str>>, expressions: Vec<ir::Expression>| ir::AuthorizationRule {
        name: name.into(),
        action: ir::AuthorizationAction::Allow,
        claims: Vec::new(),
        scopes,
        client_cidrs: Vec::new(),
        methods: Vec::new(),
        paths: Vec::new(),
        expressions,
    };
    let by_key = ir::Expression("auth.method != 'jwt'".into());
    let rules = vec![rule("keys", Vec::new(), vec![by_key]), rule("readers", vec!["read".into()], Vec::new())];
    Some(ir::Authorization { rules, default: ir::AuthorizationAction::Deny })
}

#[tokio::test]
async fn who_is_known_is_counted_cleaned_and_told_of_like_who_is_not() {
    let mut world = World::new().await;
    let methods = vec![jwt(), api_key(), extra()];
    let auth = enforce(ir::AuthPolicy { authorization: rules(), ..policy(methods) });
    let all = [world.rule("/", auth), consumer("bob", &["keys", "extra"], vec![sha256("key-bob")])];
    world.put(all).await;
    let mut token = claims();
    token["scope"] = "read write".into();
    let mut poor = claims();
    poor["scope"] = "write".into();
    let bearer = |claims| authorization("Bearer", &SIGNER.token(claims));
    let (token, poor, key) = (bearer(&token), bearer(&poor), "x-api-key: key-bob".to_owned());
    let mut client = Client::connect(world.address()).await;
    for (shown, query, status) in [
        (vec![token.clone()], "", 200),
        (vec![key.clone()], "", 200),
        (vec!["x-extra-key: key-bob".to_owned()], "", 200),
        // Both are there: the first method counts, and both go no further.
        (vec![token.clone(), key.clone()], "", 200),
        (vec![], "key=key-bob&page=2", 200),
        (vec![poor], "", 403),
        (vec![token, "x-api-key: 1".to_owned()], "", 200),
        (vec![], "", 401),
    ] {
        let shown = ["X-User: root", "x_user: root"].map(str::to_owned).into_iter().chain(shown).collect();
        three_times(&world, &mut client, shown, &format!("/?{query}"), status).await;
    }
    world.plane.stop().await;
}

/// A policy that asks for one credential in one header and tells nobody of it goes the shortest way.
#[tokio::test]
async fn who_is_known_by_the_only_header_is_counted_and_cleaned_like_who_is_not() {
    let mut world = World::new().await;
    let bob = consumer("bob", &["extra"], vec![sha256("key-bob")]);
    let keys = world.rule("/keys", enforce(untold(vec![extra()])));
    let mut token = jwt();
    if let ir::MethodKind::Jwt(jwt) = &mut token.kind {
        jwt.from.truncate(1);
    }
    let tokens = world.rule("/tokens", enforce(untold(vec![token])));
    world.put([keys, tokens, bob]).await;
    let bearer = || authorization("Bearer", &SIGNER.token(&claims()));
    let mut client = Client::connect(world.address()).await;
    for (shown, path, status) in [
        (vec!["x-extra-key: key-bob".to_owned()], "/keys", 200),
        (vec!["X-Extra-Key: key-bob".to_owned(), "x_extra_key: key-bob".to_owned()], "/keys", 200),
        (vec!["x-extra-key: key-bob".to_owned(), "x-extra-key: key-bob".to_owned()], "/keys", 401),
        (vec!["x-extra-key: key-eve".to_owned()], "/keys", 401),
        (vec!["x-extra-key: ".to_owned()], "/keys", 401),
        (vec![], "/keys", 401),
        (vec![bearer()], "/tokens", 200),
        (vec![bearer(), bearer()], "/tokens", 401),
        (vec![], "/tokens", 401),
    ] {
        three_times(&world, &mut client, shown, path, status).await;
    }
    world.plane.stop().await;
}

#[tokio::test]
async fn who_is_known_no_longer_is_turned_away_at_once() {
    for (method, header) in [(api_key(), "x-api-key: key-bob"), (extra(), "x-extra-key: key-bob")] {
        for policy in [policy(vec![method.clone()]), untold(vec![method.clone()])] {
            let mut world = World::new().await;
            let rule = world.rule("/", enforce(policy));
            let bob = |key| consumer("bob", &["keys", "extra"], vec![sha256(key)]);
            world.put([rule, bob("key-bob"), consumer("eve", &["keys", "extra"], vec![sha256("key-eve")])]).await;
            let mut client = Client::connect(world.address()).await;
            let key = [header.to_owned()];
            for _ in 0..3 {
                assert_eq!(ask_on(&mut client, "/", &key).await.status, 200);
            }
            world.put([bob("another")]).await;
            assert_eq!(ask_on(&mut client, "/", &key).await.status, 401, "the key was changed");
            world.put([bob("key-bob")]).await;
            assert_eq!(ask_on(&mut client, "/", &key).await.status, 200, "and changed back");
            world.plane.stop().await;
        }
    }
}

/// Nobody is told who the client is.
fn untold(methods: Vec<ir::AuthMethod>) -> ir::AuthPolicy {
    ir::AuthPolicy { identity: ir::IdentityOutput::default(), ..policy(methods) }
}

/// Asks three times: the answer, what the backend gets, and what is counted are the same each time.
async fn three_times(world: &World, client: &mut Client, mut headers: Vec<String>, target: &str, status: u16) {
    headers.push("X-Forwarded-Client_Cert: root".to_owned());
    let mut answers = Vec::new();
    let before = counted(world).await;
    let mut counts = Vec::new();
    for _ in 0..3 {
        let answer = ask_on(client, target, &headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
        let lines: Vec<String> = String::from_utf8(answer.body).unwrap().lines().map(str::to_ascii_lowercase).collect();
        let kept: Vec<String> = lines
            .into_iter()
            .filter(|line| !line.starts_with("x-request-id") && !line.starts_with("request id"))
            .collect();
        for secret in ["root", "key-bob", "x-api-key", "authorization", "bearer"] {
            assert!(status != 200 || !kept.iter().any(|line| line.contains(secret)), "{secret}: {kept:?}");
        }
        answers.push(kept);
        counts.push(counted(world).await);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let steps: Vec<Vec<u64>> = std::iter::once(&before).chain(&counts).zip(&counts).map(step).collect();
    assert!(steps.iter().all(|step| *step == steps[0] && step.iter().sum::<u64>() >= 2), "{steps:?}");
}

/// Series and what they stand at.
type Counts = Vec<(String, u64)>;

/// What is counted of policies, in the order of the page.
async fn counted(world: &World) -> Counts {
    let page = world.plane.admin("/metrics").await.body;
    let series = page.lines().filter(|line| line.starts_with("portcullis_dataplane_auth_"));
    let read = series.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    read.collect()
}

/// By how much each series has grown; one that is new has grown from nothing.
fn step((before, after): (&Counts, &Counts)) -> Vec<u64> {
    let was = |name: &str| before.iter().find(|(other, _)| other == name).map_or(0, |(_, value)| *value);
    after.iter().map(|(name, value)| value - was(name)).collect()
}
