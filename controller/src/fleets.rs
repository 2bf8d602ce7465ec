//! What data planes there should be: told by the reconciler, made by one task on the lease holder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{GatewayParameters, GatewayParametersSpec};
use portcullis_ir::{GatewayKey, Listener, ListenerProtocol, Snapshot};
use portcullis_provision::{Desired, Port, Request, Transport, desired};
use portcullis_publish::Pki;
use portcullis_translate::{ConditionType, Inputs, NamespacedName, State, Statuses};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::lease::{Leadership, while_leading};
use crate::provision::Provisioner;

/// Why Gateways have no data planes, or not those that they should have; for their status.
pub(crate) type Failures = BTreeMap<GatewayKey, String>;

/// How often what was made is compared with what is there, although nothing changed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// After a failure.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What each Gateway of ours asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wanted {
    gateways: BTreeMap<GatewayKey, WantedFleet>,
}

#[derive(Clone, Debug, PartialEq)]
struct WantedFleet {
    /// None: it is not accepted. What is there stays as it is: a broken edit must not take it down.
    fleet: Option<Fleet>,
}

/// All that decides how the data planes of a Gateway look.
#[derive(Clone, Debug, PartialEq)]
struct Fleet {
    /// Without status and what changes with it.
    gateway: Gateway,
    class_parameters: Option<GatewayParametersSpec>,
    parameters: Option<GatewayParametersSpec>,
    ports: BTreeSet<Port>,
    /// The version of the Service that is there: whoever changes or deletes it has it made again.
    service: Option<String>,
}

impl Wanted {
    pub(crate) fn of(inputs: &Inputs, snapshots: &BTreeMap<GatewayKey, Snapshot>, statuses: &Statuses) -> Self {
        let fleet = |(key, snapshot): (&GatewayKey, &Snapshot)| {
            let fleet = is_accepted(statuses, key).then(|| fleet(inputs, key, snapshot)).flatten();
            (key.clone(), WantedFleet { fleet })
        };
        Self { gateways: snapshots.iter().map(fleet).collect() }
    }
}

fn is_accepted(statuses: &Statuses, key: &GatewayKey) -> bool {
    let conditions = statuses.gateways.get(key).and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|one| one.type_ == ConditionType::Accepted.as_str() && one.status == State::True.as_str())
}

fn fleet(inputs: &Inputs, key: &GatewayKey, snapshot: &Snapshot) -> Option<Fleet> {
    let gateway = inputs.gateways.get(&NamespacedName::from(key))?;
    let class = inputs.gateway_classes.get(gateway.spec.gateway_class_name.as_str());
    let ObjectMeta { name, namespace, uid, labels, annotations, .. } = gateway.metadata.clone();
    let metadata = ObjectMeta { name, namespace, uid, labels, annotations, ..ObjectMeta::default() };
    let service =
        NamespacedName::new(Arc::clone(&key.namespace), portcullis_provision::resource_name(&key.namespace, &key.name));
    Some(Fleet {
        class_parameters: class.and_then(|class| of_class(inputs, class)),
        parameters: of_gateway(inputs, key, gateway),
        gateway: Gateway { metadata, spec: gateway.spec.clone(), status: None },
        ports: ports(snapshot),
        service: inputs.services.get(&service).and_then(|service| service.metadata.resource_version.clone()),
    })
}

/// Of all listeners, those of ListenerSets among them.
fn ports(snapshot: &Snapshot) -> BTreeSet<Port> {
    snapshot.config.listeners.values().map(|listener| port(listener)).collect()
}

fn port(listener: &Listener) -> Port {
    let transport = match listener.protocol {
        ListenerProtocol::Udp => Transport::Udp,
        ListenerProtocol::Http
        | ListenerProtocol::Https(_)
        | ListenerProtocol::TlsPassthrough
        | ListenerProtocol::TlsTerminate(_)
        | ListenerProtocol::Tcp => Transport::Tcp,
    };
    Port { number: listener.port, transport }
}

fn of_class(inputs: &Inputs, class: &GatewayClass) -> Option<GatewayParametersSpec> {
    let reference = class.spec.parameters_ref.as_ref()?;
    let name = NamespacedName::new(reference.namespace.as_deref()?, reference.name.as_str());
    inputs.gateway_parameters.get(&name).map(spec)
}

fn of_gateway(inputs: &Inputs, key: &GatewayKey, gateway: &Gateway) -> Option<GatewayParametersSpec> {
    let reference = gateway.spec.infrastructure.as_ref()?.parameters_ref.as_ref()?;
    inputs.gateway_parameters.get(&NamespacedName::new(Arc::clone(&key.namespace), reference.name.as_str())).map(spec)
}

fn spec(parameters: &Arc<GatewayParameters>) -> GatewayParametersSpec {
    parameters.spec.clone()
}

/// Makes what is wanted, for as long as this replica holds the lease.
pub(crate) struct Fleets {
    pub(crate) provisioner: Provisioner,
    pub(crate) settings: portcullis_provision::Settings,
    pub(crate) pki: Arc<Pki>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) wanted: watch::Receiver<Arc<Wanted>>,
    /// Moves when the CA does.
    pub(crate) authority: watch::Receiver<u64>,
    pub(crate) failures: watch::Sender<Arc<Failures>>,
}

impl Fleets {
    pub(crate) async fn run(self) {
        while_leading(self.leadership.clone(), self.work()).await;
    }

    async fn work(mut self) {
        // What was desired last, for Gateways that are broken just now.
        let mut last: BTreeMap<GatewayKey, Desired> = BTreeMap::new();
        // Before the reconciler's first pass nothing is known to be wanted, and nothing may be taken away.
        if self.wanted.changed().await.is_err() {
            return;
        }
        loop {
            let wanted = Arc::clone(&self.wanted.borrow_and_update());
            self.authority.borrow_and_update();
            let mut failures = Failures::new();
            let mut all = BTreeMap::new();
            let mut held = BTreeSet::new();
            for (key, WantedFleet { fleet }) in &wanted.gateways {
                match fleet.as_ref().map(|fleet| self.desire(fleet)) {
                    Some(Ok(desired)) => {
                        all.insert(key.clone(), desired);
                    }
                    Some(Err(why)) => {
                        failures.insert(key.clone(), why);
                        held.insert(key.clone());
                    }
                    None => {
                        held.insert(key.clone());
                    }
                }
            }
            for key in &held {
                if let Some(desired) = last.get(key) {
                    all.insert(key.clone(), desired.clone());
                }
            }
            for (key, error) in self.provisioner.reconcile(&all, &held).await {
                failures.entry(key).or_insert_with(|| error.to_string());
            }
            last = all;
            let pause = if failures.is_empty() { LOOK_AGAIN } else { TRY_AGAIN };
            self.tell(failures);
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { return },
                changed = self.authority.changed() => if changed.is_err() { return },
                () = sleep(pause) => {}
            }
        }
    }

    fn desire(&self, fleet: &Fleet) -> Result<Desired, String> {
        let Fleet { gateway, class_parameters, parameters, ports, service: _ } = fleet;
        let request = Request {
            gateway,
            class_parameters: class_parameters.as_ref(),
            parameters: parameters.as_ref(),
            ports,
            ca_bundle: &self.pki.bundle_pem(SystemTime::now()),
            settings: &self.settings,
        };
        desired(&request).map_err(|error| error.to_string())
    }

    fn tell(&self, failures: Failures) {
        self.failures.send_if_modified(|before| {
            let news = **before != failures;
            if news {
                for (key, why) in &failures {
                    tracing::error!(gateway = %key, why, "data planes cannot be provided");
                }
                *before = Arc::new(failures);
            }
            news
        });
    }
}

#[cfg(test)]
mod tests {
    use portcullis_ir::{HostPattern, ListenerKey, ListenerSetKey};

    use super::*;

    #[test]
    fn a_port_is_made_for_every_listener_whosever_it_is_and_however_it_is_spoken_to() {
        let own = ListenerKey::new(GatewayKey::new("ns", "g"), "l");
        let of_set = ListenerKey { set: Some(ListenerSetKey::new("team", "s")), ..own.clone() };
        let listener = |key: &ListenerKey, port: u16, protocol: ListenerProtocol| Listener {
            key: key.clone(),
            addresses: Vec::new(),
            port,
            hostname: HostPattern::Any,
            protocol,
            proxy_protocol: false,
            limits: None,
            auth: None,
            external: Vec::new(),
        };
        let mut snapshot = Snapshot::default();
        for one in [listener(&own, 53, ListenerProtocol::Udp), listener(&of_set, 53, ListenerProtocol::Tcp)] {
            snapshot.config.listeners.insert(one.key.clone(), Arc::new(one));
        }
        let expected = [Transport::Tcp, Transport::Udp].map(|transport| Port { number: 53, transport });
        assert_eq!(ports(&snapshot), BTreeSet::from(expected));
        assert_eq!(port(&listener(&own, 443, ListenerProtocol::TlsPassthrough)).transport, Transport::Tcp);
    }
}
