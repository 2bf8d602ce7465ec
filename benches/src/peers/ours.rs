//! Our own side of a like-for-like setup: from a file, or followed over the stream as in a cluster.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use portcullis_dataplane::write_snapshot_file;
use portcullis_ir::{
    Action, Attachment, Backend, BackendKey, Certificate, CertificateKey, Endpoint, Endpoints, GatewayKey, HeaderMatch,
    HostPattern, Listener, ListenerKey, ListenerProtocol, Match, PathMatch, Protocol, Resource, Route, RouteHostname,
    RouteKey, Secret, Snapshot, Source, StringMatch, Target, Timeouts, TlsTermination, WeightedBackend,
};
use portcullis_wire::Version;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::stream::Publishing;
use super::{PROXY_CORE, RouteSetup, START, Setup, TlsFiles, policies};
use crate::child::{Launch, Running, free_address};

/// The shipped data plane over a snapshot file.
pub(super) fn launch(binaries: &Path, setup: &Setup, folder: &Path) -> anyhow::Result<Launch> {
    let file = folder.join("snapshot");
    write_snapshot_file(&file, Version { epoch: 1, number: 1 }, &snapshot_of(setup)?)?;
    let mut arguments: Vec<OsString> = vec!["--snapshot".into(), file.into()];
    arguments.extend(common(setup.workers, free_address()?));
    Ok(Launch { program: binaries.join("portcullis-dataplane"), arguments, listen: setup.listen })
}

fn common(workers: usize, admin: SocketAddr) -> Vec<OsString> {
    ["--admin", &admin.to_string(), "--workers", &workers.to_string(), "--drain-delay", "0", "--drain-deadline", "1"]
        .map(OsString::from)
        .into()
}

/// The shipped data plane, fed by a real stream from this very process: what a controller's publisher does, and nothing of Kubernetes.
#[derive(Debug)]
pub struct LiveDataPlane {
    pub running: Running,
    pub publishing: Publishing,
    _folder: tempfile::TempDir,
}

impl LiveDataPlane {
    /// Starts it and waits until it listens with what `setup` says.
    pub async fn start(binaries: &Path, setup: &Setup) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let publishing = Publishing::start(folder.path()).await?;
        publishing.publish(&snapshot_of(setup)?)?;
        let mut arguments = publishing.arguments(folder.path());
        arguments.extend(["--state-dir".into(), folder.path().join("state").into()]);
        arguments.extend(common(setup.workers, free_address()?));
        let program = binaries.join("portcullis-dataplane");
        let launch = Launch { program, arguments, listen: setup.listen };
        let launch = if setup.workers == 1 { launch.pinned(PROXY_CORE) } else { launch };
        let mut running = Running::start(&launch.program, &launch.arguments, &[], folder.path())?;
        running.listening(setup.listen, START).await?;
        Ok(Self { running, publishing, _folder: folder })
    }
}

/// What a setup means in our own words.
pub fn snapshot_of(setup: &Setup) -> anyhow::Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    let protocol = match &setup.tls {
        None => ListenerProtocol::Http,
        Some(files) => {
            let key = CertificateKey::new("infra", "certificate");
            snapshot.insert(Resource::Certificate(Arc::new(certificate(key.clone(), files)?)));
            ListenerProtocol::Https(TlsTermination { certificates: vec![key], client_validation: None })
        }
    };
    let listener = Listener {
        key: listener_key(),
        addresses: vec![setup.listen.ip()],
        port: setup.listen.port(),
        hostname: HostPattern::Any,
        protocol,
        proxy_protocol: false,
        limits: setup.limit.as_ref().map(policies::limits),
        auth: setup.auth.as_ref().map(policies::auth),
        external: Vec::new(),
    };
    snapshot.insert(Resource::Listener(Arc::new(listener)));
    for resource in policies::resources(setup.auth.as_ref(), setup.limit.as_ref()) {
        snapshot.insert(resource);
    }
    for upstream in &setup.upstreams {
        let key = backend_key(&upstream.name);
        let backend = Backend {
            key: key.clone(),
            protocol: Protocol::Http,
            tls: None,
            source: Source::Endpoints,
            connect_timeout: Duration::from_secs(5),
            broken: None,
        };
        let endpoints = vec![Endpoint { address: upstream.address, ready: true }];
        snapshot.insert(Resource::Backend(Arc::new(backend)));
        snapshot.insert(Resource::Endpoints(Arc::new(Endpoints { key, endpoints })));
    }
    for (index, one) in setup.routes.iter().enumerate() {
        snapshot.insert(Resource::Route(Arc::new(route(index, one))));
    }
    Ok(snapshot)
}

/// Route number `index` of a setup.
#[must_use]
pub fn route(index: usize, setup: &RouteSetup) -> Route {
    let headers = setup.version.iter().map(|version| HeaderMatch {
        name: HeaderName::from_static("x-version"),
        value: StringMatch::Exact(version.as_str().into()),
    });
    let hostname = RouteHostname { effective: HostPattern::Any, written: HostPattern::Any };
    let targets = setup.targets.iter().map(|target| WeightedBackend {
        target: Target::Backend(backend_key(&target.name)),
        weight: target.weight,
        filters: Vec::new(),
    });
    Route {
        key: RouteKey::http("apps", format!("route-{index:05}"), 0),
        rule_name: None,
        created: 0,
        attachments: vec![Attachment::new(listener_key(), vec![hostname])],
        matches: vec![Match {
            path: PathMatch::prefix(setup.prefix.as_str()),
            headers: headers.collect(),
            ..Match::default()
        }],
        filters: Vec::new(),
        action: Action::Forward(targets.collect()),
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
    }
}

fn certificate(key: CertificateKey, files: &TlsFiles) -> anyhow::Result<Certificate> {
    let chain = CertificateDer::pem_slice_iter(&fs::read(&files.chain)?)
        .map(|one| Ok(one?.as_ref().into()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let private = PrivateKeyDer::from_pem_slice(&fs::read(&files.key)?)?;
    Ok(Certificate { key, chain, private_key: Secret::new(private.secret_der()) })
}

fn listener_key() -> ListenerKey {
    ListenerKey::new(GatewayKey::new("infra", "gateway"), "in")
}

fn backend_key(name: &str) -> BackendKey {
    BackendKey::service("apps", name, 8080)
}
