//! kube-apiserver and etcd.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use socket2::{Domain, Socket, Type};

use crate::guard::Guard;
use crate::pki::Pki;
use crate::{CrdSet, crds, tools};

/// The administrator's token. It opens a server on loopback that lives for one test run.
const ADMIN_TOKEN: &str = "administrator";
const PATIENCE: Duration = Duration::from_secs(120);

/// A real API server. Ready some seconds after `start`, gone when dropped or when the test's process is.
#[derive(Debug)]
pub struct ApiServer {
    config: Config,
    folder: PathBuf,
    guard: Guard,
    /// Bound, never listening: keeps the port for the server, which shares it (`--permit-port-sharing`).
    _port: Socket,
}

impl ApiServer {
    /// Starts both and waits until they are ready; with no CRDs.
    ///
    /// # Panics
    /// If a program is missing, ends, or does not get ready, with the tail of its log.
    pub fn start() -> Self {
        let (etcd, kube_apiserver) = (tools::program("etcd"), tools::program("kube-apiserver"));
        let folder = tempfile::Builder::new().prefix("portcullis-apiserver-").tempdir().unwrap().keep();
        let (reservation, port) = reserve_port();
        let pki = Pki::new();
        write_files(&folder, &pki, port);
        fs::write(folder.join("start.sh"), start_script(&etcd, &kube_apiserver, port)).unwrap();
        let mut config = Config::new(format!("https://127.0.0.1:{port}").parse().unwrap());
        config.root_cert = Some(vec![pki.ca_der]);
        config.auth_info = token(ADMIN_TOKEN);
        let guard = Guard::start(&folder);
        let server = Self { config, folder, guard, _port: reservation };
        server.block_on(async |server| server.wait_until_ready().await);
        server
    }

    /// `start`, with CRDs.
    pub fn start_with(sets: &[CrdSet]) -> Self {
        let server = Self::start();
        server.install(sets);
        server
    }

    /// Installs CRDs and waits until their kinds are served.
    pub fn install(&self, sets: &[CrdSet]) {
        self.block_on(async |server| crds::install(&server.client(), sets).await);
    }

    /// The administrator's configuration. A client belongs to the runtime that made it, so each test makes its own.
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// The administrator.
    pub fn client(&self) -> Client {
        Client::try_from(self.config()).expect("the configuration is whole")
    }

    /// Who holds this token.
    pub fn config_with_token(&self, bearer: &str) -> Config {
        let mut config = self.config();
        config.auth_info = token(bearer);
        config
    }

    /// A service account that exists, by a token of its own.
    pub async fn client_as(&self, namespace: &str, service_account: &str) -> Client {
        let bearer = self.token_for(namespace, service_account, &[]).await;
        Client::try_from(self.config_with_token(&bearer)).expect("the configuration is whole")
    }

    /// A token of a service account that exists; without audiences, one for the API server.
    pub async fn token_for(&self, namespace: &str, service_account: &str, audiences: &[&str]) -> String {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audiences.iter().map(|audience| (*audience).to_owned()).collect(),
                ..Default::default()
            },
            ..Default::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let answer = accounts.create_token_request(service_account, &PostParams::default(), &request).await.unwrap();
        answer.status.expect("a token request is answered in its status").token
    }

    /// For `kubectl --kubeconfig`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The end of a log, for a failure's report.
    pub fn log_tail(&self, name: &str) -> String {
        let text = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// From a test's own thread, whether that runs a runtime or not.
    fn block_on(&self, work: impl AsyncFnOnce(&Self) + Send) {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(work(self));
            });
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    async fn wait_until_ready(&self) {
        let mut config = self.config();
        config.default_retry = false;
        let client = Client::try_from(config).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ready = http::Request::get("/readyz").body(Vec::new()).unwrap();
            let answer = client.request_text(ready).await;
            if answer.as_deref().is_ok_and(|text| text == "ok") {
                return;
            }
            assert!(
                self.guard.all_running() && Instant::now() < deadline,
                "the API server does not get ready: {answer:?}\n{}\n{}",
                self.log_tail("etcd.log"),
                self.log_tail("apiserver.log")
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn token(bearer: &str) -> AuthInfo {
    AuthInfo { token: Some(bearer.to_owned().into()), ..Default::default() }
}

fn reserve_port() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().expect("an IPv4 socket").port();
    (socket, port)
}

fn write_files(folder: &Path, pki: &Pki, port: u16) {
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{name: test, cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: ca.crt}}}}]\n\
         users: [{{name: test, user: {{token: {ADMIN_TOKEN}}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n"
    );
    for (name, text) in [
        ("ca.crt", &pki.ca_pem),
        ("apiserver.crt", &pki.certificate_pem),
        ("apiserver.key", &pki.key_pem),
        ("tokens.key", &pki.token_private_pem),
        ("tokens.pub", &pki.token_public_pem),
        ("tokens.csv", &format!("{ADMIN_TOKEN},administrator,administrator,\"system:masters\"\n")),
        ("kubeconfig", &kubeconfig),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
}

/// Relative paths are the folder's. Between the two a Unix socket, so that one port is all there is to reserve.
fn start_script(etcd: &Path, kube_apiserver: &Path, port: u16) -> String {
    let etcd = etcd.display();
    let kube_apiserver = kube_apiserver.display();
    format!(
        "here=$(pwd)
'{etcd}' --name=test --data-dir=etcd --unsafe-no-fsync --log-level=warn --initial-cluster=test=unix://$here/peer.sock \\
  --listen-client-urls=unix://$here/etcd.sock --advertise-client-urls=unix://$here/etcd.sock \\
  --listen-peer-urls=unix://$here/peer.sock --initial-advertise-peer-urls=unix://$here/peer.sock \\
  </dev/null >etcd.log 2>&1 &
pids=$!
'{kube_apiserver}' --etcd-servers=unix://$here/etcd.sock --bind-address=127.0.0.1 --secure-port={port} --permit-port-sharing \\
  --advertise-address=192.0.2.1 --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/16 \\
  --authorization-mode=RBAC --token-auth-file=tokens.csv --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key \\
  --service-account-key-file=tokens.pub --service-account-signing-key-file=tokens.key \\
  --service-account-issuer=https://kubernetes.default.svc --disable-admission-plugins=ServiceAccount \\
  </dev/null >apiserver.log 2>&1 &
pids=\"$pids $!\"
"
    )
}
