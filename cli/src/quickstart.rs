//! `portcullis quickstart`: the example folder, two backends for it, and what to try.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use portcullis_dataplane::AccessLog;
use portcullis_wire::RejectionCode;

use crate::example_backend::ExampleBackend;
use crate::standalone::{Options, RunError, start};

/// Ports and names of the backends that `docs/examples/quickstart/backends.yaml` refers to.
pub const BACKENDS: [(&str, u16); 2] = [("shop", 9001), ("blog", 9002)];
/// The port of its Gateway.
pub const PORT: u16 = 8080;

#[derive(Debug, thiserror::Error)]
pub enum QuickstartError {
    #[error("{0} is not there; run this from the root of the repository, or name the folder by --config")]
    NoExamples(PathBuf),
    #[error("cannot listen on port {port}; see who has it by `ss -ltnp 'sport = :{port}'`, stop that, and try again")]
    Port { port: u16, source: io::Error },
    #[error("the Gateway cannot listen: {0}; stop what uses the port, or change it in gateway.yaml")]
    Gateway(String),
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Serves the example folder until `shutdown`.
///
/// # Errors
/// [`QuickstartError`], each naming the port or the folder and what to do.
pub async fn quickstart(
    config: PathBuf,
    admin: SocketAddr,
    shutdown: impl Future<Output = ()>,
) -> Result<(), QuickstartError> {
    if !config.is_dir() {
        return Err(QuickstartError::NoExamples(config));
    }
    let mut backends = tokio::task::JoinSet::new();
    for (name, port) in BACKENDS {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let backend = ExampleBackend::bind(address, name).await;
        backends.spawn(backend.map_err(|source| QuickstartError::Port { port, source })?.serve());
    }
    let options = Options {
        config: config.clone(),
        admin,
        workers: None,
        state_dir: None,
        access_log: AccessLog::Off,
        trusted_proxies: Vec::new(),
        drain_deadline: std::time::Duration::from_secs(5),
    };
    let running = start(options)?;
    let admin = running.admin_address();
    let (failed, mut failure) = tokio::sync::mpsc::channel(1);
    let mut told = false;
    let mut reason = None;
    let serve = running.serve(
        async {
            tokio::select! {
                () = shutdown => {}
                _ = failure.recv() => {}
            }
        },
        |rejected| {
            let unbindable = rejected.iter().find(|rejection| rejection.code == RejectionCode::Unbindable);
            if std::mem::replace(&mut told, true) {
                return;
            }
            match unbindable {
                Some(rejection) => {
                    // The only one; there is room.
                    let _ = failed.try_send(());
                    reason.get_or_insert(rejection.message.clone());
                }
                None => hello(&config, admin),
            }
        },
    );
    serve.await;
    reason.map_or(Ok(()), |reason| Err(QuickstartError::Gateway(reason)))
}

/// Three lines to try.
fn hello(config: &std::path::Path, admin: SocketAddr) {
    let base = format!("http://127.0.0.1:{PORT}");
    // Nobody reads it if standard output is closed.
    let _ = writeln!(
        io::stdout(),
        "\nServing {} on {base}. Try, in another terminal:\n\n  \
         curl {base}/                                       # nine of ten answers come from shop, one from blog\n  \
         curl -H 'Host: shop.localhost' {base}/api/cart     # by host name and path, with a header added\n  \
         curl -i {base}/old                                 # a redirect\n\n\
         Edit {}/routes.yaml and try again: edits are live. Status: portcullis status --admin {admin}. Ctrl-C stops.\n",
        config.display(),
        config.display()
    );
}
