#![allow(clippy::unwrap_used)]

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig};

use super::super::shake::{Authority, Identity, client, shake};
use super::super::tls::{Inside, TlsTable, install_provider};
use super::*;

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

struct Listener {
    server: Authority,
    clients: Authority,
    table: TlsTable,
}

fn key() -> ir::ListenerKey {
    ir::ListenerKey::new(ir::GatewayKey::new("ns", "gw"), "https")
}

fn validation(mode: ir::ClientValidationMode, roots: &[&Authority]) -> ir::ClientValidation {
    ir::ClientValidation { roots: roots.iter().map(|it| it.root.to_vec().into()).collect(), mode }
}

impl Listener {
    fn asking(mode: ir::ClientValidationMode) -> Self {
        let (server, clients) = (Authority::new(), Authority::new());
        let certificate = server.identity("a.example").certificate("c");
        let mut table = TlsTable::default();
        let termination = ir::TlsTermination {
            certificates: vec![certificate.key.clone()],
            client_validation: Some(validation(mode, &[&clients])),
        };
        table.put(&key(), Inside::Http, &termination, &|_| Some(Arc::clone(&certificate)));
        Self { server, clients, table }
    }

    fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(self.table.config(&key()).unwrap())
    }

    fn client(
        &self,
        identity: Option<&Identity>,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        client(&self.server.root, identity, version)
    }

    /// What the listener makes of a client, with how the handshake went.
    fn meet(&self, client: &Arc<ClientConfig>) -> Result<(HandshakeKind, ClientIdentity), Option<Error>> {
        let (_, server) = shake(client, &self.server(), "a.example").map_err(Some)?;
        let identity = self.table.clients(&key()).unwrap().judge(&server).map_err(|NotAdmitted| None)?;
        Ok((server.handshake_kind().unwrap(), identity))
    }
}

#[test]
fn a_required_certificate_is_required() {
    let listener = Listener::asking(ir::ClientValidationMode::Require);
    let (good, wrong) = (listener.clients.identity("me"), listener.server.identity("me"));
    for version in VERSIONS {
        let (_, identity) = listener.meet(&listener.client(Some(&good), version)).unwrap();
        assert_eq!(identity, ClientIdentity { leaf: Some(good.chain[0].as_ref().into()), valid: true });
        for bad in [None, Some(wrong.clone()), Some(listener.clients.expired("me"))] {
            let refused = listener.meet(&listener.client(bad.as_ref(), version)).unwrap_err().unwrap();
            let error = std::io::Error::other(refused);
            assert_eq!(outcome(&error), Handshake::ClientCertificate, "{error}");
        }
    }
}

#[test]
fn a_certificate_that_is_only_asked_for_is_judged_and_let_in_whatever_it_is() {
    let listener = Listener::asking(ir::ClientValidationMode::Request);
    for version in VERSIONS {
        for (identity, valid) in [
            (None, false),
            (Some(listener.server.identity("me")), false),
            (Some(listener.clients.expired("me")), false),
            (Some(listener.clients.identity("me")), true),
        ] {
            let (_, found) = listener.meet(&listener.client(identity.as_ref(), version)).unwrap();
            let leaf = identity.map(|identity| identity.chain[0].as_ref().into());
            assert_eq!(found, ClientIdentity { leaf, valid });
        }
    }
}

#[test]
fn a_resumed_session_brings_its_certificate_along() {
    for mode in [ir::ClientValidationMode::Require, ir::ClientValidationMode::Request] {
        let listener = Listener::asking(mode);
        for version in VERSIONS {
            let client = listener.client(Some(&listener.clients.identity("me")), version);
            let (kind, full) = listener.meet(&client).unwrap();
            assert_eq!(kind, HandshakeKind::Full);
            let (kind, resumed) = listener.meet(&client).unwrap();
            assert_eq!((kind, resumed), (HandshakeKind::Resumed, full));
        }
    }
}

#[test]
fn a_resumed_session_is_judged_by_todays_rules() {
    // The verifier of the session's first handshake is not the one that judges the second: as if time had passed.
    let mut listener = Listener::asking(ir::ClientValidationMode::Require);
    let client = listener.client(Some(&listener.clients.identity("me")), &TLS13);
    listener.meet(&client).unwrap();
    let server = listener.server();
    let stricter = validation(ir::ClientValidationMode::Require, &[&Authority::new()]);
    let (judge, _) = Clients::new(&stricter, &install_provider());
    let (_, resumed) = shake(&client, &server, "a.example").unwrap();
    assert_eq!(resumed.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(judge.unwrap().judge(&resumed), Err(NotAdmitted));
    // A listener that judges otherwise has tickets of its own: nothing is resumed there.
    let certificate = listener.server.identity("a.example").certificate("c");
    let termination =
        ir::TlsTermination { certificates: vec![certificate.key.clone()], client_validation: Some(stricter) };
    listener.table.put(&key(), Inside::Http, &termination, &|_| Some(Arc::clone(&certificate)));
    assert!(listener.meet(&client).is_err());
}

#[test]
fn a_chain_too_long_for_a_ticket_is_not_resumed_but_served() {
    let listener = Listener::asking(ir::ClientValidationMode::Request);
    let mut long = listener.clients.identity("me");
    long.chain.extend(std::iter::repeat_n(listener.clients.root.clone(), 60));
    for version in VERSIONS {
        let client = listener.client(Some(&long), version);
        for _ in 0..2 {
            assert_eq!(listener.meet(&client).unwrap().0, HandshakeKind::Full);
        }
    }
}

#[test]
fn without_a_root_nobody_is_let_in_whatever_the_mode() {
    let certificate = Authority::new().identity("a.example").certificate("c");
    let garbage: Box<[u8]> = b"no certificate".as_slice().into();
    for mode in [ir::ClientValidationMode::Require, ir::ClientValidationMode::Request] {
        for (roots, unusable) in [(vec![], 0), (vec![garbage.clone()], 1)] {
            let mut table = TlsTable::default();
            let termination = ir::TlsTermination {
                certificates: vec![certificate.key.clone()],
                client_validation: Some(ir::ClientValidation { roots, mode }),
            };
            table.put(&key(), Inside::Http, &termination, &|_| Some(Arc::clone(&certificate)));
            assert!(table.config(&key()).is_err() && table.no_client_roots(&key()).is_some());
            assert_eq!(table.unusable_roots(&key()).len(), unusable);
        }
    }
}

#[test]
fn one_bad_root_is_told_and_the_others_count() {
    let listener = Listener::asking(ir::ClientValidationMode::Require);
    let mut validation = validation(ir::ClientValidationMode::Require, &[&listener.clients]);
    validation.roots.insert(0, b"no certificate".as_slice().into());
    let (clients, unusable) = Clients::new(&validation, &install_provider());
    assert!(clients.is_ok());
    assert_eq!(unusable.len(), 1);
    assert!(unusable[0].starts_with("root 0 "), "{unusable:?}");
}

#[test]
fn an_unchanged_validation_keeps_the_configuration_and_a_changed_one_does_not() {
    let authority = Authority::new();
    let certificate = authority.identity("a.example").certificate("c");
    let mut table = TlsTable::default();
    let mut put = |client_validation: Option<ir::ClientValidation>| {
        let termination = ir::TlsTermination { certificates: vec![certificate.key.clone()], client_validation };
        table.put(&key(), Inside::Http, &termination, &|_| Some(Arc::clone(&certificate)));
        Arc::clone(table.config(&key()).unwrap())
    };
    let require = || Some(validation(ir::ClientValidationMode::Require, &[&authority]));
    let (none, first, same) = (put(None), put(require()), put(require()));
    assert!(!Arc::ptr_eq(&none, &first) && Arc::ptr_eq(&first, &same));
    let other = put(Some(validation(ir::ClientValidationMode::Request, &[&authority])));
    assert!(!Arc::ptr_eq(&same, &other));
    assert!(!Arc::ptr_eq(&other, &put(None)));
}

#[test]
fn a_connection_carries_requests_only_where_its_client_is_judged_alike() {
    let authority = Authority::new();
    let listener = |client_validation: Option<ir::ClientValidation>, port| {
        Arc::new(ir::Listener {
            key: key(),
            addresses: Vec::new(),
            port,
            hostname: ir::HostPattern::Any,
            protocol: ir::ListenerProtocol::Https(ir::TlsTermination { certificates: Vec::new(), client_validation }),
            proxy_protocol: false,
            limits: None,
            auth: None,
            external: Vec::new(),
        })
    };
    let require = || Some(validation(ir::ClientValidationMode::Require, &[&authority]));
    let request = || Some(validation(ir::ClientValidationMode::Request, &[&authority]));
    for (opened, asked, admitted) in [
        (None, None, true),
        (require(), require(), true),
        (None, require(), false),
        (request(), require(), false),
        (require(), None, false),
    ] {
        assert_eq!(admits(&listener(opened, 1), &listener(asked, 2)), admitted);
    }
}
