//! All tasks of one replica, and how they end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use kube::Client;
use portcullis_publish::{Pki, Publisher, report_to};
use portcullis_translate::{Kind, ObjectRef};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::admin::{self, Pages};
use crate::authority::Authority;
use crate::events::{Events, News};
use crate::finalizer::{Finalizers, Keeper};
use crate::fleets::{Failures, Fleets, Wanted};
use crate::identity::TokenReviews;
use crate::issuers::{self, Keeper as IssuerKeeper, Place};
use crate::lease::{self, End, Leadership, LeaseSettings};
use crate::metrics::Metrics;
use crate::provision::Provisioner;
use crate::reconcile::{Channels, Reconciler};
use crate::settings::Settings;
use crate::status::{Writer, Writes};
use crate::watch::{self as watching, FOLLOWED};

/// Changes that wait for a pass; a fast API server is held back, nothing is lost.
const CHANGES: usize = 4096;

/// Starts replicas.
#[derive(Debug)]
pub struct Controller;

/// One running replica.
#[derive(Debug)]
pub struct Handle {
    publisher: Arc<Publisher>,
    admin: SocketAddr,
    stream: SocketAddr,
    shutdown: watch::Sender<bool>,
    leadership: watch::Receiver<Leadership>,
    references: watch::Receiver<Arc<std::collections::BTreeSet<ObjectRef>>>,
    missing: watch::Receiver<Vec<String>>,
    lease: Option<tokio::task::JoinHandle<End>>,
    tasks: JoinSet<()>,
}

impl Controller {
    /// Binds the ports and starts everything; what needs the CA or the first pass waits for it by itself.
    ///
    /// # Errors
    /// When a port cannot be bound.
    pub async fn start(settings: Settings, client: Client) -> anyhow::Result<Handle> {
        let metrics = Metrics::new().context("metrics")?;
        let stream = bind(settings.listen, "--listen").await?;
        let admin = bind(settings.admin, "--admin").await?;
        let (stream_address, admin_address) = (stream.local_addr()?, admin.local_addr()?);
        let publisher = Publisher::new(epoch());
        let (missing_sender, missing) = watch::channel(vec!["nothing is listed yet".to_owned()]);
        let (shutdown, stopping) = watch::channel(false);
        let (leadership_sender, leadership) = watch::channel(Leadership::default());
        let mut tasks = JoinSet::new();

        let reached = SocketAddr::new(settings.pod_ip.unwrap_or(stream_address.ip()), stream_address.port());
        let lease = tokio::spawn(lease::run(
            client.clone(),
            LeaseSettings {
                namespace: settings.namespace.clone(),
                name: settings.lease_name.clone(),
                identity: format!("{}_{reached}", settings.pod),
                duration: settings.lease_duration,
                renew: settings.lease_renew,
            },
            leadership_sender,
            stopping.clone(),
        ));

        let (changes, incoming) = mpsc::channel(CHANGES);
        let (references, wanted_references) = watch::channel(Arc::default());
        let (writes, wanted_writes) = watch::channel(Arc::<Writes>::default());
        let (wanted, wanted_fleets) = watch::channel(Arc::<Wanted>::default());
        let (failures_sender, failures) = watch::channel(Arc::<Failures>::default());
        for kind in FOLLOWED {
            tasks.spawn(watching::follow(client.clone(), kind, changes.clone(), metrics.clone()));
        }
        tasks.spawn(watching::follow_labelled(client.clone(), changes.clone(), metrics.clone()));
        tasks.spawn(watching::follow_definitions(client.clone(), changes.clone(), metrics.clone()));
        for kind in [Kind::Secret, Kind::ConfigMap] {
            let wanted = wanted_references.clone();
            tasks.spawn(watching::hold(client.clone(), kind, wanted, changes.clone(), metrics.clone()));
        }
        let place = Place { namespace: settings.namespace.clone(), installation: settings.lease_name.clone() };
        tasks.spawn(issuers::follow(client.clone(), place.clone(), changes.clone(), metrics.clone()));
        drop(changes);
        let (sources, wanted_sources) = watch::channel(None);
        let (fetching, fetched) = watch::channel(None);
        let (invalid_sender, invalid) = watch::channel(Arc::default());
        let (downgrades_sender, downgrades) = watch::channel(Arc::default());
        let (finalizers_sender, finalizers) = watch::channel(Arc::<Finalizers>::default());
        let translating = portcullis_translate::Settings {
            controller_name: settings.controller_name.clone(),
            ..portcullis_translate::Settings::default()
        };
        let channels = Channels {
            changes: incoming,
            references,
            writes,
            wanted,
            failures: failures.clone(),
            invalid: invalid_sender,
            downgrades: downgrades_sender,
            sources,
            finalizers: finalizers_sender,
            missing: missing_sender,
        };
        tasks.spawn(Reconciler::new(translating, Arc::clone(&publisher), channels, metrics.clone()).run());
        tasks.spawn(Writer::new(client.clone(), leadership.clone(), wanted_writes, metrics.clone()).run());
        let news = News { failures, invalid, downgrades };
        tasks.spawn(Events::new(client.clone(), settings.pod.clone(), leadership.clone(), news).run());
        tasks.spawn(Keeper::new(client.clone(), leadership.clone(), finalizers, metrics.clone()).run());
        let keeper = IssuerKeeper {
            client: client.clone(),
            place,
            leadership: leadership.clone(),
            sources: wanted_sources,
            publisher: Arc::clone(&publisher),
            metrics: metrics.clone(),
            stats: fetching,
        };
        tasks.spawn(keeper.run());
        let pages =
            Pages { metrics: metrics.clone(), stats: publisher.stats(), issuers: fetched, missing: missing.clone() };
        tasks.spawn(admin::serve(admin, pages, stopped(stopping.clone())));
        tasks.spawn(count_leadership(leadership.clone(), metrics.clone()));
        let secured = Secured {
            settings,
            client,
            metrics,
            publisher: Arc::clone(&publisher),
            leadership: leadership.clone(),
            stopping,
            wanted: wanted_fleets,
            failures: failures_sender,
        };
        tasks.spawn(secured.run(stream));
        Ok(Handle {
            publisher,
            admin: admin_address,
            stream: stream_address,
            shutdown,
            leadership,
            references: wanted_references,
            missing,
            lease: Some(lease),
            tasks,
        })
    }
}

/// What waits for the CA: the stream, and the data planes that are told whom to trust.
struct Secured {
    settings: Settings,
    client: Client,
    metrics: Metrics,
    publisher: Arc<Publisher>,
    leadership: watch::Receiver<Leadership>,
    stopping: watch::Receiver<bool>,
    wanted: watch::Receiver<Arc<Wanted>>,
    failures: watch::Sender<Arc<Failures>>,
}

impl Secured {
    async fn run(self, stream: TcpListener) {
        let Self { settings, client, metrics, publisher, mut leadership, stopping, wanted, failures } = self;
        let Settings { namespace, service, ca_secret, pod, .. } = &settings;
        let dns_names = vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            service.clone(),
        ];
        let authority = Authority::new(client.clone(), namespace, ca_secret, dns_names);
        let Ok(pki) = authority.first(&mut leadership).await else { return };
        let (moved, authority_moves) = watch::channel(0);
        let fleets = Fleets {
            provisioner: Provisioner::new(client.clone(), &settings.controller_name, metrics),
            settings: portcullis_provision::Settings {
                controller_name: settings.controller_name.clone(),
                controller_namespace: namespace.clone(),
                controller_service: service.clone(),
                controller_port: stream.local_addr().map_or(0, |address| address.port()),
                dataplane_image: settings.dataplane_image.clone(),
                image_pull_policy: settings.image_pull_policy.clone(),
            },
            pki: Arc::clone(&pki),
            leadership: leadership.clone(),
            wanted,
            authority: authority_moves,
            failures,
        };
        let identify = Arc::new(TokenReviews::new(client));
        let serve = portcullis_publish::serve(
            stream,
            Arc::clone(&publisher),
            Arc::clone(&pki),
            identify,
            stopped(stopping.clone()),
        );
        tokio::join!(
            async {
                if let Err(error) = serve.await {
                    tracing::error!(%error, "the stream's server has ended");
                }
            },
            authority.follow(Arc::clone(&pki), leadership.clone(), moved),
            fleets.run(),
            report(leadership, pod.as_str().into(), pki, publisher, stopping),
        );
    }
}

impl Handle {
    pub fn publisher(&self) -> Arc<Publisher> {
        Arc::clone(&self.publisher)
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    pub fn stream_address(&self) -> SocketAddr {
        self.stream
    }

    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// What is missing before the first program; empty when there is one.
    pub fn missing(&self) -> Vec<String> {
        self.missing.borrow().clone()
    }

    /// The Secrets and ConfigMaps that are held: those that are referred to, and no others.
    pub fn held(&self) -> Vec<ObjectRef> {
        self.references.borrow().iter().cloned().collect()
    }

    /// Until this replica can do no more: it has lost the lease, or a task of it has ended that never should. Says why.
    pub async fn lost(&mut self) -> &'static str {
        let Some(lease) = &mut self.lease else { return "it was shut down" };
        tokio::select! {
            ended = lease => {
                self.lease = None;
                match ended {
                    Ok(End::Lost) => "the lease is lost; another replica leads",
                    Ok(End::Released) => "the lease is released",
                    Err(_) => "the lease's task has panicked",
                }
            }
            _ = self.tasks.join_next() => "a task has ended; its panic, or why, is in the log above",
        }
    }

    /// Ends streams, releases the lease, and waits for both.
    pub async fn shutdown(mut self) {
        self.shutdown.send_replace(true);
        if let Some(lease) = self.lease.take() {
            // Its only error is a panic, which has been printed.
            let _ = lease.await;
        }
        self.tasks.shutdown().await;
    }
}

/// Tells the lease holder about our data planes while it is somebody else.
async fn report(
    mut leadership: watch::Receiver<Leadership>,
    replica: Arc<str>,
    pki: Arc<Pki>,
    publisher: Arc<Publisher>,
    stopping: watch::Receiver<bool>,
) {
    loop {
        let now = leadership.borrow_and_update().clone();
        let address = now.holder.as_deref().filter(|_| !now.is_leader).and_then(|holder| holder.rsplit_once('_'));
        let address = address.map(|(_, address)| address.to_owned());
        let mut changes = leadership.clone();
        let ended = async move {
            // An error means that the lease's task is gone, and with it all of us.
            let _ = changes.wait_for(|other| *other != now).await;
        };
        match address {
            Some(address) => {
                report_to(address, Arc::clone(&replica), Arc::clone(&pki), Arc::clone(&publisher), ended).await;
            }
            None => ended.await,
        }
        if *stopping.borrow() || leadership.has_changed().is_err() {
            return;
        }
    }
}

async fn count_leadership(mut leadership: watch::Receiver<Leadership>, metrics: Metrics) {
    loop {
        metrics.leads(leadership.borrow_and_update().is_leader);
        if leadership.changed().await.is_err() {
            return;
        }
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the handle is gone, which stops as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn bind(address: SocketAddr, argument: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; change {argument} or free the port"))
}

/// Unlike that of any earlier book: nobody starts twice within a nanosecond.
fn epoch() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
