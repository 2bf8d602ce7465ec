//! The access log: one JSON object per line. Lines go through a bounded channel to a thread of their own, so that a
//! slow standard output costs lines (counted), never requests.

use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use portcullis_ir::{BackendKey, RouteKey};

use super::json::Object;
use super::judged::judged;
use super::timestamp::Timestamp;
use super::{Metrics, Phases, RequestRecord, StreamRecord};
use crate::conn::ClientIdentity;
use crate::hex::hex;

/// Lines that may wait for the writer.
const QUEUE: usize = 4096;
/// Longest printed path, host or name, in bytes.
const MAX_TEXT: usize = 1024;

#[derive(Clone, Debug)]
pub(crate) struct AccessLogSink {
    lines: SyncSender<String>,
    metrics: Arc<Metrics>,
}

impl AccessLogSink {
    /// Starts the writer. It ends when the last sink is gone and everything is written.
    pub(crate) fn start(output: Box<dyn Write + Send>, metrics: Arc<Metrics>) -> io::Result<(Self, JoinHandle<()>)> {
        let (lines, queue) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&queue, BufWriter::with_capacity(64 * 1024, output)))?;
        Ok((Self { lines, metrics }, writer))
    }

    /// Writes a line, or drops and counts it when the writer cannot keep up. Whether a request is logged at all is
    /// decided before, by [`super::Sampler::wants`].
    pub(crate) fn log(&self, record: &RequestRecord<'_>) {
        self.send(format(record, SystemTime::now()));
    }

    /// The same for what was handed on as it came.
    pub(crate) fn log_stream(&self, record: &StreamRecord<'_>) {
        self.send(format_stream(record, SystemTime::now()));
    }

    fn send(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.metrics.access_log_dropped.increment();
        }
    }
}

/// Buffered while lines wait, flushed when none does.
fn write_lines(queue: &Receiver<String>, mut output: BufWriter<Box<dyn Write + Send>>) {
    while let Ok(first) = queue.recv() {
        if let Err(error) = write_waiting(first, queue, &mut output) {
            tracing::warn!(%error, "the access log cannot be written any more; its output is closed");
            break;
        }
    }
}

fn write_waiting(first: String, queue: &Receiver<String>, output: &mut impl Write) -> io::Result<()> {
    let mut next = Some(first);
    while let Some(line) = next {
        output.write_all(line.as_bytes())?;
        next = queue.try_recv().ok();
    }
    output.flush()
}

fn format(record: &RequestRecord<'_>, now: SystemTime) -> String {
    let RequestRecord {
        request_id,
        method,
        host,
        path,
        protocol,
        status,
        grpc_status,
        flags,
        denied_by,
        shadowed_by,
        route,
        rule_name,
        backend,
        endpoint,
        client,
        sni,
        client_identity,
        auth,
        bytes_in,
        bytes_out,
        attempts,
        phases: Phases { total, connect, upstream_head, response },
    } = record;
    let mut line = String::with_capacity(768);
    let mut out = Object::begin(&mut line);
    out.word("time", begun(now, *total).as_str());
    out.text("request_id", cut(request_id));
    out.text("method", cut(method));
    out.text("host", cut(host));
    out.text("path", cut(path));
    out.word("protocol", protocol);
    out.number("status", *status);
    if let Some(code) = grpc_status {
        out.number("grpc_status", *code);
    }
    out.word("flags", &flags.to_string());
    for (name, rule) in [("denied_by", denied_by), ("shadowed_by", shadowed_by)] {
        if let Some(rule) = rule {
            out.text(name, cut(rule));
        }
    }
    names(&mut out, *route, *rule_name, *backend, *endpoint);
    out.address("client", *client);
    if let Some(sni) = sni {
        out.text("sni", cut(sni));
    }
    if let Some(ClientIdentity { leaf, valid }) = client_identity {
        let judged = match leaf {
            None => "none",
            Some(_) if *valid => "valid",
            Some(_) => "not_valid",
        };
        out.word("client_certificate", judged);
        if let Some(leaf) = leaf {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
            out.word("client_certificate_sha256", &hex(digest.as_ref()));
        }
    }
    if let Some(note) = auth {
        judged(&mut out, note);
    }
    out.number("bytes_in", *bytes_in);
    out.number("bytes_out", *bytes_out);
    out.number("attempts", *attempts);
    out.number("duration_us", micros(*total));
    for (name, phase) in [("connect_us", connect), ("upstream_head_us", upstream_head), ("response_us", response)] {
        if let Some(phase) = phase {
            out.number(name, micros(*phase));
        }
    }
    out.end();
    line.push('\n');
    line
}

fn format_stream(record: &StreamRecord<'_>, now: SystemTime) -> String {
    let StreamRecord {
        protocol,
        outcome,
        flags,
        route,
        rule_name,
        backend,
        endpoint,
        client,
        sni,
        bytes_in,
        bytes_out,
        attempts,
        total,
        connect,
    } = record;
    let mut line = String::with_capacity(512);
    let mut out = Object::begin(&mut line);
    out.word("time", begun(now, *total).as_str());
    out.word("protocol", protocol);
    out.word("outcome", outcome);
    out.word("flags", &flags.to_string());
    names(&mut out, *route, *rule_name, *backend, *endpoint);
    out.address("client", *client);
    if let Some(sni) = sni {
        out.text("sni", cut(sni));
    }
    out.number("bytes_in", *bytes_in);
    out.number("bytes_out", *bytes_out);
    out.number("attempts", *attempts);
    out.number("duration_us", micros(*total));
    if let Some(connect) = connect {
        out.number("connect_us", micros(*connect));
    }
    out.end();
    line.push('\n');
    line
}

/// Which objects had it.
fn names(
    out: &mut Object<'_>,
    route: Option<&RouteKey>,
    rule_name: Option<&str>,
    backend: Option<&BackendKey>,
    endpoint: Option<SocketAddr>,
) {
    if let Some(RouteKey { kind, namespace, name, rule }) = route {
        out.word("route_kind", kind.as_str());
        out.text("route_namespace", namespace);
        out.text("route", name);
        out.number("rule", *rule);
    }
    if let Some(name) = rule_name {
        out.text("rule_name", cut(name));
    }
    if let Some(BackendKey { kind, namespace, name, port, transport: _ }) = backend {
        out.word("backend_kind", kind.as_str());
        out.text("backend_namespace", namespace);
        out.text("backend", name);
        out.number("backend_port", *port);
    }
    if let Some(endpoint) = endpoint {
        out.address("endpoint", endpoint);
    }
}

pub(super) fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text)
}

/// When it began, of what ended just now.
fn begun(now: SystemTime, total: Duration) -> Timestamp {
    Timestamp::of(now.checked_sub(total).unwrap_or(now))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::observe::{Flags, flags};

    fn record(path: &str) -> RequestRecord<'_> {
        RequestRecord {
            request_id: "id",
            method: "GET",
            host: "a.example",
            path,
            protocol: "HTTP/1.1",
            status: 200,
            grpc_status: None,
            flags: Flags::NONE,
            denied_by: None,
            shadowed_by: None,
            route: None,
            rule_name: None,
            backend: None,
            endpoint: None,
            client: "192.0.2.1:5".parse().unwrap(),
            sni: None,
            client_identity: None,
            auth: None,
            bytes_in: 1,
            bytes_out: 2,
            attempts: 1,
            phases: Phases { total: Duration::from_micros(1500), ..Phases::default() },
        }
    }

    #[test]
    fn a_line_is_one_json_object_with_every_field_that_is_known() {
        let route = RouteKey::http("ns", "r", 3);
        let backend = BackendKey::service("ns", "b", 80);
        let record = RequestRecord {
            grpc_status: Some(14),
            flags: flags::NO_ENDPOINTS,
            denied_by: Some("shop/fair-use/burst"),
            shadowed_by: None,
            route: Some(&route),
            backend: Some(&backend),
            ..record("/a\nb")
        };
        let line = format(&record, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["time"], "2023-11-14T22:13:19.998500Z");
        assert_eq!(parsed["route"], "r");
        assert_eq!(parsed["rule"], 3);
        assert_eq!(parsed["backend"], "b");
        assert_eq!(parsed["flags"], "NE");
        assert_eq!(parsed["denied_by"], "shop/fair-use/burst");
        assert_eq!(parsed.get("shadowed_by"), None);
        assert_eq!(parsed["grpc_status"], 14);
        assert_eq!(parsed["duration_us"], 1500);
        assert_eq!(parsed.get("connect_us"), None);
    }

    #[test]
    fn a_connection_has_a_line_of_its_own_kind() {
        let route = RouteKey::new(portcullis_ir::RouteKind::TlsRoute, "ns", "r", 0);
        let record = StreamRecord {
            protocol: "tls",
            outcome: "ok",
            flags: Flags::NONE,
            route: Some(&route),
            rule_name: None,
            backend: None,
            endpoint: None,
            client: "192.0.2.1:5".parse().unwrap(),
            sni: Some("a.example"),
            bytes_in: 3,
            bytes_out: 4,
            attempts: 1,
            total: Duration::from_micros(1500),
            connect: Some(Duration::from_micros(20)),
        };
        let line = format_stream(&record, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["time"], "2023-11-14T22:13:19.998500Z");
        assert_eq!(
            (&parsed["protocol"], &parsed["outcome"], &parsed["sni"]),
            (&"tls".into(), &"ok".into(), &"a.example".into())
        );
        assert_eq!(
            (&parsed["route_kind"], &parsed["bytes_out"], &parsed["connect_us"]),
            (&"TLSRoute".into(), &4.into(), &20.into())
        );
    }

    #[test]
    fn what_a_client_has_shown_is_named_by_its_digest() {
        let judged = |leaf: Option<&[u8]>, valid| {
            let identity = ClientIdentity { leaf: leaf.map(Into::into), valid };
            let line = format(&RequestRecord { client_identity: Some(&identity), ..record("/") }, UNIX_EPOCH);
            serde_json::from_str::<serde_json::Value>(&line).unwrap()
        };
        assert_eq!(judged(None, false)["client_certificate"], "none");
        assert_eq!(judged(Some(b"abc"), false)["client_certificate"], "not_valid");
        let valid = judged(Some(b"abc"), true);
        assert_eq!(valid["client_certificate"], "valid");
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(valid["client_certificate_sha256"], digest);
    }

    #[test]
    fn a_long_path_is_cut_at_a_character() {
        let path = format!("/{}", "é".repeat(2000));
        let line = format(&record(&path), UNIX_EPOCH);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["path"].as_str().unwrap().len(), 1023);
    }

    #[test]
    fn everything_logged_is_written_before_the_writer_ends() {
        #[derive(Clone, Default)]
        struct Shared(Arc<Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let output = Shared::default();
        let (sink, writer) = AccessLogSink::start(Box::new(output.clone()), Arc::default()).unwrap();
        for _ in 0..10 {
            sink.log(&record("/"));
        }
        drop(sink);
        writer.join().unwrap();
        assert_eq!(output.0.lock().unwrap().iter().filter(|&&byte| byte == b'\n').count(), 10);
    }
}
