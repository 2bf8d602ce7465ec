//! Which rule has a connection to a stream listener, and where it goes: a fold over the program, by what
//! [`StreamRoute`] says.

use std::cmp::Reverse;

use portcullis_ir::{Listener, ListenerProtocol, RouteHostname, Snapshot, StreamBackend, StreamRoute, Target};
use portcullis_router::{Bind, Router};

use crate::answer::has_no_certificate;
use crate::ask::{Connection, Scheme};

pub(crate) fn answer(router: &Router<()>, snapshot: &Snapshot, asked: &Connection) -> Vec<String> {
    let bind = Bind { address: asked.address, port: asked.port };
    let here = |protocol: &ListenerProtocol| {
        let mut listeners = snapshot.config.listeners.values().filter(|one| one.protocol == *protocol);
        listeners.find(|listener| Bind::of(listener).any(|one| one == bind))
    };
    let listener = match asked.scheme {
        Scheme::Tls => router.listener_for_sni(bind, asked.sni.as_deref()),
        Scheme::Tcp => here(&ListenerProtocol::Tcp),
        Scheme::Udp => here(&ListenerProtocol::Udp),
    };
    let Some(listener) = listener else { return vec!["refused: no listener".to_owned()] };
    let ended = match listener.protocol {
        ListenerProtocol::TlsTerminate(_) if has_no_certificate(listener, snapshot) => {
            return vec![format!("handshake refused: listener {} has no certificate", listener.key)];
        }
        ListenerProtocol::TlsTerminate(_) => ", TLS ended",
        ListenerProtocol::TlsPassthrough => ", TLS passed through",
        ListenerProtocol::Tcp | ListenerProtocol::Udp => "",
        ListenerProtocol::Http | ListenerProtocol::Https(_) => return vec![format!("HTTP on {}", listener.key)],
    };
    let Some(StreamRoute { key, rule_name, backends, .. }) = rule(snapshot, listener, asked.sni.as_deref()) else {
        return vec![format!("refused: no rule on {}", listener.key)];
    };
    let name = rule_name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let mut lines = vec![format!("{key}{name} on {}{ended}", listener.key)];
    if backends.iter().all(|one| one.weight == 0) {
        lines.push("refused: no backends".to_owned());
    } else {
        lines.extend(backends.iter().map(|backend| describe(backend, snapshot)));
    }
    lines
}

/// The most specific hostname, then the first by rank.
fn rule<'s>(snapshot: &'s Snapshot, listener: &Listener, sni: Option<&str>) -> Option<&'s StreamRoute> {
    let matches = |hostname: &&RouteHostname| hostname.effective.matches(sni.unwrap_or_default());
    let under = |route: &'s StreamRoute| {
        let attachments = route.attachments.iter().filter(|attachment| attachment.listener == listener.key);
        attachments.flat_map(|attachment| &attachment.hostnames).filter(matches).max().map(|host| (host, route))
    };
    let all = snapshot.config.stream_routes.values().filter_map(|route| under(route));
    all.max_by_key(|(host, route)| (*host, Reverse(route.rank()))).map(|(_, route)| route)
}

fn describe(StreamBackend { target, weight }: &StreamBackend, snapshot: &Snapshot) -> String {
    let target = match target {
        Target::Invalid(_) => "refused".to_owned(),
        Target::Backend(key) if !snapshot.config.backends.contains_key(key) => format!("{key} (not in the program)"),
        Target::Backend(key) => match snapshot.live.endpoints.get(key).map(|one| one.endpoints.as_slice()) {
            Some([]) => format!("{key} (no endpoints)"),
            Some(endpoints) => {
                let addresses: Vec<String> = endpoints.iter().map(|one| one.address.to_string()).collect();
                format!("{key} at {}", addresses.join(", "))
            }
            None => key.to_string(),
        },
    };
    format!("{weight} x {target}")
}
