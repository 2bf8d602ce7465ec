//! What is told about a request when it has ended: metrics always, a line in the access log if the sampler wants it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use portcullis_router::Rule;

use super::conn::Conn;
use crate::observe::{Flags, Phases, RequestRecord};
use crate::policy::AuthNote;
use crate::program::RuleState;
use crate::upstream::BackendProgram;

/// Filled in as the request goes. Cheap to keep: handles, numbers, and nothing that had to be formatted.
#[derive(Debug)]
pub(super) struct Log {
    started: Instant,
    protocol: &'static str,
    pub(super) request: Option<Named>,
    pub(super) rule: Option<Arc<Rule<RuleState>>>,
    pub(super) backend: Option<Arc<BackendProgram>>,
    pub(super) endpoint: Option<SocketAddr>,
    /// 0: no answer was sent.
    pub(super) status: u16,
    /// Of a call that was answered, by a backend or by us.
    pub(super) grpc_status: Option<u8>,
    pub(super) flags: Flags,
    pub(super) auth: Option<AuthNote>,
    /// A box, since most requests are not turned away.
    judged: Option<Box<Judged>>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) attempts: u32,
    pub(super) connect: Option<Duration>,
    /// When the head of the last try was sent.
    pub(super) sent_at: Option<Instant>,
    pub(super) answered_at: Option<Instant>,
}

/// The rule of a policy that turned a request away, and one that would have if it were not in shadow mode.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) denied_by: Option<Box<str>>,
    pub(super) shadowed_by: Option<Box<str>>,
}

/// What a request calls itself.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) method: Method,
    pub(super) host: Option<HeaderValue>,
    pub(super) target: Option<PathAndQuery>,
    pub(super) client: SocketAddr,
    pub(super) request_id: Option<HeaderValue>,
}

impl Log {
    pub(super) fn new(started: Instant, protocol: &'static str) -> Self {
        Self {
            started,
            protocol,
            request: None,
            rule: None,
            backend: None,
            endpoint: None,
            status: 0,
            grpc_status: None,
            flags: Flags::NONE,
            auth: None,
            judged: None,
            bytes_in: 0,
            bytes_out: 0,
            attempts: 0,
            connect: None,
            sent_at: None,
            answered_at: None,
        }
    }

    pub(super) fn judged(&mut self) -> &mut Judged {
        self.judged.get_or_insert_default()
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Once per request, when its last byte has been sent or it was given up.
    pub(super) fn finish(&self, conn: &Conn) -> Instant {
        let now = Instant::now();
        let total = now.saturating_duration_since(self.started);
        let shared = &conn.worker.shared;
        match &self.rule {
            Some(rule) => {
                shared.metrics.request(&rule.route.key, &rule.payload.metrics, self.status, self.flags, total);
            }
            None => shared.metrics.unmatched.request(self.status, self.flags, total),
        }
        shared.metrics.flags(self.flags);
        if let Some(code) = self.grpc_status {
            shared.metrics.outcomes.grpc(code);
        }
        if conn.worker.sampler.wants(self.flags, now) {
            self.write(conn, now, total);
        }
        now
    }

    #[cold]
    fn write(&self, conn: &Conn, now: Instant, total: Duration) {
        let request = self.request.as_ref();
        let text =
            |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let host = text(request.and_then(|request| request.host.as_ref()));
        let request_id = text(request.and_then(|request| request.request_id.as_ref()));
        let judged = self.judged.as_deref();
        let route = self.rule.as_ref().map(|rule| &rule.route);
        conn.worker.shared.access_log.log(&RequestRecord {
            request_id: &request_id,
            method: request.map_or("", |request| request.method.as_str()),
            host: &host,
            path: request.and_then(|request| request.target.as_ref()).map_or("", PathAndQuery::path),
            protocol: self.protocol,
            status: self.status,
            grpc_status: self.grpc_status,
            flags: self.flags,
            denied_by: judged.and_then(|judged| judged.denied_by.as_deref()),
            shadowed_by: judged.and_then(|judged| judged.shadowed_by.as_deref()),
            route: route.map(|route| &route.key),
            rule_name: route.and_then(|route| route.rule_name.as_deref()),
            backend: self.backend.as_ref().map(|backend| &backend.backend.key),
            endpoint: self.endpoint,
            client: request.map_or(conn.info.client, |request| request.client),
            sni: conn.info.tls.as_ref().and_then(|tls| tls.sni.as_deref()),
            client_identity: conn.info.tls.as_ref().and_then(|tls| tls.client.as_ref()),
            auth: self.auth.as_ref(),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            attempts: self.attempts,
            phases: Phases {
                total,
                connect: self.connect,
                upstream_head: self
                    .sent_at
                    .zip(self.answered_at)
                    .map(|(sent, answered)| answered.saturating_duration_since(sent)),
                response: self.answered_at.map(|answered| now.saturating_duration_since(answered)),
            },
        });
    }
}
