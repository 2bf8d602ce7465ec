//! The real OpenID provider, as a data plane is told of it.

use std::sync::Arc;
use std::time::Duration;

use portcullis_ir as ir;
use portcullis_ir::Resource;

use crate::browser::Browser;
use crate::plane::free_port;
use crate::real::{Agent, CLIENT, Real, SECRET};
use crate::resources::{certificate, https};
use crate::world::{World, bearer, enforce, origin, policy};

/// Hosts that the certificate of [`Site`] is for; the provider sends browsers back to the first.
pub const HOSTS: [&str; 2] = ["shop.example", "admin.example"];

/// A data plane with a TLS listener, a backend, and a provider that both know.
pub struct Site {
    pub world: World,
    pub real: Real,
    port: u16,
    server: Vec<u8>,
}

impl Site {
    /// One whose provider's access tokens are good for so long, with policies by the paths that they are in force below.
    pub async fn new(access_token: Duration, rules: impl FnOnce(&Real) -> Vec<(&'static str, ir::Auth)>) -> Self {
        let real = Real::start(access_token).await;
        let mut world = World::new().await;
        let port = free_port();
        let (pair, server) = certificate("c", &HOSTS);
        let mut all = known(&real).await;
        all.extend([pair, https("tls", port, "", &["c"])]);
        all.extend(rules(&real).into_iter().map(|(path, auth)| world.rule_at("tls", path, Some(auth))));
        world.put(all).await;
        Self { world, real, port, server }
    }

    pub fn browser(&self, host: &str) -> Browser {
        Browser::new(self.port, &self.server, host)
    }

    /// A browser in which somebody has logged in at `target`.
    pub async fn logged_in(&self, user: &str, target: &str) -> Browser {
        let mut browser = self.browser(HOSTS[0]);
        let callback = self.to_the_provider_and_back(&mut browser, user, target).await;
        let page = browser.get(&callback).await;
        assert_eq!((page.status, page.location()), (303, target), "{page:?}");
        browser
    }

    /// Begins a login and goes through with it at the provider: the target of the callback.
    pub async fn to_the_provider_and_back(&self, browser: &mut Browser, user: &str, target: &str) -> String {
        let page = browser.get(target).await;
        assert_eq!(page.status, 302, "{page:?}");
        let back = Agent::of(user).log_in(page.location()).await;
        let origin = format!("https://{}", browser.host);
        back.strip_prefix(&origin).unwrap_or_else(|| panic!("back to {back}")).to_owned()
    }

    pub async fn stop(self) {
        self.world.plane.stop().await;
    }
}

/// What the controller would have told of the provider.
pub async fn known(real: &Real) -> Vec<Resource> {
    let issuer = ir::Issuer {
        key: ir::IssuerKey(real.issuer.as_str().into()),
        keys: Some(real.keys().await.into()),
        discovery: Some(real.discovery()),
    };
    vec![Resource::Issuer(Arc::new(issuer)), secret()]
}

/// What proves to the provider who we are.
pub fn secret() -> Resource {
    let content = ir::CredentialContent::Shared(ir::Secret::new(SECRET.as_bytes().to_vec()));
    Resource::Credential(Arc::new(ir::Credential { key: secret_key(), content }))
}

fn secret_key() -> ir::CredentialKey {
    ir::CredentialKey { purpose: ir::CredentialUse::Shared, namespace: "ns".into(), name: "login".into() }
}

/// Any; the machine that runs the tests may have none of its own.
fn root() -> Box<[u8]> {
    rcgen::generate_simple_self_signed(["unused".to_owned()]).unwrap().cert.der().to_vec().into()
}

/// Login at the provider of `issuer`; who it is for is told by the tests' policy.
pub fn oidc(issuer: &str, edit: impl FnOnce(&mut ir::Oidc)) -> ir::AuthMethod {
    let mut oidc = ir::Oidc {
        issuer: issuer.into(),
        discovered: ir::IssuerKey(issuer.into()),
        roots: vec![root()],
        client_id: CLIENT.into(),
        client_secret: secret_key(),
        scopes: vec!["openid".into(), "email".into()],
        redirect_path: "/oauth2/callback".into(),
        logout_path: "/oauth2/logout".into(),
        post_logout: None,
        allowed_hosts: Vec::new(),
        cookie_name: "sid".into(),
        cookie_domain: None,
        session_lifetime: Duration::from_secs(3600),
    };
    edit(&mut oidc);
    ir::AuthMethod { name: "login".into(), kind: ir::MethodKind::Oidc(Box::new(oidc)) }
}

/// Introspection at an endpoint.
pub fn asked(endpoint: &str, edit: impl FnOnce(&mut ir::Introspection)) -> ir::AuthMethod {
    let mut asked = ir::Introspection {
        endpoint: ir::EndpointUrl { url: endpoint.into(), roots: vec![root()] },
        client_id: CLIENT.into(),
        client_secret: secret_key(),
        from: vec![bearer()],
        audiences: Vec::new(),
        timeout: Duration::from_secs(10),
        cache_ttl: Duration::from_secs(60),
        cache_entries: 100,
        when: None,
    };
    edit(&mut asked);
    ir::AuthMethod { name: "asked".into(), kind: ir::MethodKind::Introspection(Box::new(asked)) }
}

/// A policy of an object of its own.
pub fn of(uid: &str, methods: Vec<ir::AuthMethod>) -> ir::Auth {
    let origin = ir::PolicyOrigin { uid: uid.into(), ..origin("policy") };
    enforce(ir::AuthPolicy { origins: vec![origin], ..policy(methods) })
}
