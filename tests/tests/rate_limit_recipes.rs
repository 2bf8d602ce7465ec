//! The recipes of docs/rate-limits.md do what the page says: its files, served by the program, with a real store.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use portcullis_tests::backend::EchoBackend;
use portcullis_tests::client::{self, Answer, Connection};
use portcullis_tests::process::{PATIENCE, Standalone, binary, free_port};

#[allow(dead_code, unreachable_pub, reason = "shared with the data plane's own tests, which use the rest")]
#[path = "../../dataplane/tests/limits/redis.rs"]
mod redis;

use redis::Redis;

/// Of `acme`, plan `silver`, signed with the key of RFC 8037 (A.2) that the example trusts; until the year 2100.
const TOKEN: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6Im9uZSJ9.\
    eyJpc3MiOiJodHRwczovL3BhcnRuZXJzLmV4YW1wbGUuY29tIiwiYXVkIjoic2hvcCIsInN1YiI6ImFjbWUiLCJwbGFuIjoic2lsdmVyIiwiZXhwIjo0MTAyNDQ0ODAwfQ.\
    pnF4zf7nWwd5DH181pZjPU1PO50u5ub5aUr7069q2bLyyvZjxjTUmcs_Y4-SoJ7OEx9XdKAbaAr87aax_TGqAA";

/// The examples, served.
struct Shop {
    gateway: Option<Standalone>,
    redis: Redis,
    address: SocketAddr,
    config: tempfile::TempDir,
    state: tempfile::TempDir,
    _backend: EchoBackend,
}

impl Shop {
    fn open() -> Self {
        // As a user with no more rights than it needs.
        let rights = ["--user", "limiter", "on", ">change-me", "~portcullis:*", "+@scripting", "+get", "+set", "+time"];
        let redis = Redis::start(&[&rights[..], &["+client"]].concat());
        let backend = EchoBackend::start("shop").unwrap();
        let config = tempfile::tempdir().unwrap();
        let port = free_port();
        for entry in fs::read_dir(root().join("docs/examples/rate-limits")).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.replace("redis.example.com:6379", &redis.address());
            let text = text.replace("port: 8090", &format!("port: {port}"));
            let text = text.replace("port: 9001", &format!("port: {}", backend.address.port()));
            let loopback = "gatewayClassName: portcullis\n  addresses: [{type: IPAddress, value: 127.0.0.1}]\n";
            let text = text.replace("gatewayClassName: portcullis\n", loopback);
            fs::write(config.path().join(path.file_name().unwrap()), text).unwrap();
        }
        let state = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut shop = Self { gateway: None, redis, address, config, state, _backend: backend };
        shop.start();
        shop
    }

    fn start(&mut self) {
        let settings = ["--trusted-proxy", "127.0.0.0/8", "--access-log", "all"];
        self.gateway = Some(Standalone::start_ready(self.config.path(), self.state.path(), &settings).unwrap());
        let since = Instant::now();
        while client::get(self.admin(), "localhost", "/quotas?rule=monthly&key=192.0.2.1").unwrap().status != 200 {
            assert!(since.elapsed() < PATIENCE, "the store does not answer:\n{}", self.gateway().log_text());
        }
    }

    fn gateway(&self) -> &Standalone {
        self.gateway.as_ref().unwrap()
    }

    fn admin(&self) -> SocketAddr {
        self.gateway().admin
    }

    /// From a client of its own, so that recipes do not meet at the limit by address.
    fn ask(&self, method: &str, path: &str, client: u8, headers: &str) -> Answer {
        let from = format!("X-Forwarded-For: 192.0.2.{client}\r\n");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: shop.example\r\n{from}{headers}\r\n");
        Connection::open(self.address).unwrap().send(&request).unwrap()
    }

    /// Waits until the access log says so.
    fn logs(&self, words: &str) {
        let since = Instant::now();
        while !self.gateway().log_text().contains(words) {
            assert!(since.elapsed() < PATIENCE, "{words} is not in:\n{}", self.gateway().log_text());
        }
    }

    /// So many statuses are alike before another one comes, of at most `most`.
    fn passes(&self, path: &str, client: u8, headers: &str, most: usize) -> usize {
        let passes = (0..most).take_while(|_| match self.ask("GET", path, client, headers).status {
            200 => true,
            429 => false,
            other => panic!("status {other}"),
        });
        passes.count()
    }

    fn quota(&self, arguments: &[&str]) -> Output {
        let admin = self.admin().to_string();
        let mut command = Command::new(binary().unwrap());
        command.arg("quota").args(arguments).args(["--admin", &admin]).output().unwrap()
    }

    /// The column REMAINING of the only row.
    fn remaining(&self, verb: &str, question: &[&str]) -> u64 {
        let output = self.quota(&[&[verb], question].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        let row = text.lines().nth(1).unwrap_or_else(|| panic!("{text}"));
        row.split_whitespace().rev().nth(1).unwrap().parse().unwrap()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn item<'a>(answer: &'a Answer, header: &str, rule: &str) -> Option<&'a str> {
    let list = answer.header(header)?;
    list.split(", ").find_map(|item| item.strip_prefix(&format!("{rule:?};")))
}

#[test]
fn per_ip_damping_holds_for_every_route_and_for_each_client_alone() {
    let shop = Shop::open();
    let passes = shop.passes("/archive", 10, "", 500);
    println!("{passes} passed of a burst of 100");
    assert!((100..500).contains(&passes), "{passes}");
    let refused = shop.ask("GET", "/search", 10, "");
    assert_eq!(refused.status, 429, "it holds wherever the client goes");
    assert!(item(&refused, "RateLimit", "per-client").is_some_and(|item| item.starts_with("r=0;")), "{refused:?}");
    assert_eq!(shop.ask("GET", "/archive", 11, "").status, 200);
}

#[test]
fn a_login_can_be_tried_five_times_by_a_client_for_an_account() {
    let shop = Shop::open();
    let attempt = |client, account| shop.ask("POST", "/login", client, &format!("X-Account: {account}\r\n"));
    let statuses: Vec<u16> = (0..6).map(|_| attempt(20, "ann").status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    let refused = attempt(20, "ann");
    assert_eq!(refused.text(), r#"{"error": "too many attempts"}"#);
    assert_eq!(refused.header("content-type"), Some("application/json"));
    assert!(refused.header("retry-after").is_some());
    shop.logs(r#""denied_by":"default/login/attempts""#);
    assert_eq!([attempt(20, "bob").status, attempt(21, "ann").status], [200, 200]);
    assert_eq!(shop.ask("GET", "/login", 20, "X-Account: ann\r\n").status, 200, "the page itself is free");
}

#[test]
fn a_plan_is_that_of_the_api_key_and_who_has_none_has_the_rules_own() {
    let shop = Shop::open();
    let silver = "X-API-Key: correct-horse-battery-staple\r\n";
    let answer = shop.ask("GET", "/api", 30, silver);
    assert_eq!(item(&answer, "RateLimit-Policy", "plan"), Some("q=20;w=60"), "{answer:?}");
    let passes = 1 + shop.passes("/api", 30, silver, 80);
    assert!((20..80).contains(&passes), "{passes}");
    let own = "X-API-Key: wrong-horse-battery-staple\r\n";
    let answer = shop.ask("GET", "/api", 31, own);
    assert_eq!(item(&answer, "RateLimit-Policy", "plan"), Some("q=5;w=60"), "{answer:?}");
    let passes = 1 + shop.passes("/api", 31, own, 40);
    assert!((5..40).contains(&passes), "{passes}");
    assert_eq!(shop.ask("GET", "/api", 32, "").status, 401);
}

#[test]
fn a_plan_is_that_of_the_tokens_claim() {
    let shop = Shop::open();
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let answer = shop.ask("GET", "/partners", 40, &token);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(item(&answer, "RateLimit-Policy", "plan"), Some("q=20;w=60"), "{answer:?}");
    let passes = 1 + shop.passes("/partners", 40, &token, 80);
    assert!((20..80).contains(&passes), "{passes}");
    assert_eq!(shop.ask("GET", "/partners", 41, &token).status, 429, "wherever the token comes from");
}

#[test]
fn a_monthly_quota_is_read_and_reset_by_command_and_survives_a_restart() {
    let mut shop = Shop::open();
    let key = ["--policy", "default/archive", "--rule", "monthly", "--key", "192.0.2.50"];
    assert_eq!(shop.remaining("get", &key), 100_000);
    for _ in 0..7 {
        assert_eq!(shop.ask("GET", "/archive", 50, "").status, 200);
    }
    assert_eq!(shop.remaining("get", &key), 99_993);
    assert!(shop.gateway.take().unwrap().terminate().unwrap().success());
    shop.start();
    assert_eq!(shop.remaining("get", &key), 99_993, "after a restart");
    shop.gateway.take().unwrap().kill().unwrap();
    shop.start();
    assert_eq!(shop.remaining("get", &key), 99_993, "after a death: nothing was held");
    assert_eq!(shop.remaining("reset", &key), 100_000);
    assert_eq!(shop.remaining("get", &key), 100_000);
}

#[test]
fn the_command_says_what_it_cannot_answer() {
    let mut shop = Shop::open();
    for (arguments, words) in [
        (&["get", "--policy", "default/gone", "--rule", "monthly"][..], "no such rule is in force"),
        (&["get", "--policy", "default/archive", "--rule", "gone"], "no such rule is in force"),
        (&["get", "--policy", "default/archive", "--rule", "monthly"], "the key has 0 parts; the rule's has 1"),
        (&["get", "--policy", "default/archive", "--rule", "monthly", "--key", "ann"], "address"),
        (&["get", "--policy", "default/plans", "--rule", "plan", "--tier", "tin", "--key", "a"], "no tier `tin`"),
        (&["reset", "--policy", "default/archive"], "name a policy and a rule"),
    ] {
        let output = shop.quota(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(words), "{arguments:?}: {told}");
    }
    let overview = String::from_utf8_lossy(&shop.quota(&["get"]).stdout).into_owned();
    for rule in ["attempts", "monthly", "per-client", "plan", "stricter", "weighted"] {
        assert!(overview.contains(&format!("  {rule}  ")), "{rule}: {overview}");
    }
    shop.redis.kill();
    let key = ["get", "--policy", "default/archive", "--rule", "monthly", "--key", "192.0.2.1"];
    let output = shop.quota(&key);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("what replicas share is only known there"), "{told}");
    let gateway = shop.gateway.take().unwrap();
    let admin = gateway.admin.to_string();
    gateway.kill().unwrap();
    let mut command = Command::new(binary().unwrap());
    let output = command.arg("quota").args(key).args(["--admin", &admin]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("nothing is running with its admin pages on"), "{told}");
}

/// What `kubectl` does to a cluster, done to two data planes on this machine: it names them as ready pods, and forwards,
/// with a word of each connection.
const KUBECTL: &str = r#"#!/usr/bin/env python3
import os, socket, sys, threading
with open(sys.argv[0] + ".log", "a") as log:
    print(*sys.argv[1:], file=log)
if sys.argv[1] == "get":
    print(open(sys.argv[0] + ".json").read())
    sys.exit()
[port] = [argument[1:] for argument in sys.argv if argument.startswith(":")]
with open(sys.argv[0] + ".pids", "a") as pids:
    print(os.getpid(), file=pids)
door = socket.create_server(("127.0.0.1", 0))
own = door.getsockname()[1]
print(f"Forwarding from 127.0.0.1:{own} -> {port}", flush=True)
def copy(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)
while True:
    client, _ = door.accept()
    print(f"Handling connection for {own}", flush=True)
    pod = socket.create_connection(("127.0.0.1", int(port)))
    for pair in [(client, pod), (pod, client)]:
        threading.Thread(target=copy, args=pair, daemon=True).start()
"#;

#[test]
fn every_data_plane_of_a_gateway_is_asked_and_the_ways_to_them_are_closed_again() {
    let (first, second) = (Shop::open(), Shop::open());
    let folder = tempfile::tempdir().unwrap();
    let kubectl = folder.path().join("kubectl");
    fs::write(&kubectl, KUBECTL).unwrap();
    fs::set_permissions(&kubectl, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let pod = |name: &str, shop: &Shop| {
        serde_json::json!({
            "metadata": { "name": name, "namespace": "shop" },
            "spec": { "containers": [{ "ports": [{ "name": "admin", "containerPort": shop.admin().port() }] }] },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        })
    };
    let pods = serde_json::json!({ "items": [pod("web-1", &first), pod("web-2", &second)] });
    fs::write(kubectl.with_extension("json"), pods.to_string()).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let quota = |verb: &str, rule: &[&str]| {
        let mut command = Command::new(binary().unwrap());
        command.args(["quota", verb, "--gateway", "shop/web", "--context", "there"]).args(rule).env("PATH", &path);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    first.ask("GET", "/reports/export", 80, "");
    let weighted = ["--policy", "default/reports", "--rule", "weighted", "--key", "192.0.2.80"];
    let left = |table: &str, pod: &str| {
        let row = table.lines().find(|row| row.starts_with(pod)).unwrap_or_else(|| panic!("{table}"));
        row.split_whitespace().rev().nth(1).unwrap().parse::<u64>().unwrap()
    };
    // A replica counts for itself; a unit comes back every 3.6 s.
    let table = quota("get", &weighted);
    assert!((950..=980).contains(&left(&table, "web-1")) && left(&table, "web-2") == 1000, "{table}");
    let table = quota("reset", &weighted);
    assert!(left(&table, "web-1") == 1000 && left(&table, "web-2") == 1000, "{table}");
    let monthly = ["--policy", "default/archive", "--rule", "monthly", "--key", "192.0.2.80"];
    let table = quota("get", &monthly);
    assert_eq!(table.lines().count(), 2, "what they count together is told once: {table}");

    let said = fs::read_to_string(kubectl.with_extension("log")).unwrap();
    let selector = "gateway.networking.k8s.io/gateway-name=web,app.kubernetes.io/name=portcullis-dataplane";
    assert!(said.contains(&format!("get pods --namespace shop --selector {selector} --output=json --context there")));
    let pids = fs::read_to_string(kubectl.with_extension("pids")).unwrap();
    assert_eq!(pids.lines().count(), 6);
    assert!(pids.lines().all(|pid| !Path::new("/proc").join(pid).exists()), "none is left: {pids}");
}

#[test]
fn an_export_counts_as_fifty_requests() {
    let shop = Shop::open();
    let left = |path| {
        let answer = shop.ask("GET", path, 60, "");
        let item = item(&answer, "RateLimit", "weighted").unwrap_or_else(|| panic!("{answer:?}"));
        item.strip_prefix("r=").unwrap().split(';').next().unwrap().parse::<u64>().unwrap()
    };
    // A unit comes back every 3.6 s.
    assert!((999..=1000).contains(&left("/reports/list")));
    assert!((949..=960).contains(&left("/reports/export")));
}

#[test]
fn a_limit_in_shadow_lets_all_pass_and_counts_whom_it_would_not() {
    let shop = Shop::open();
    assert_eq!(shop.passes("/search", 70, "", 60), 60);
    shop.logs(r#""shadowed_by":"default/search/stricter""#);
    assert!(!shop.gateway().log_text().contains("denied_by"), "would deny and deny are told apart");
    let series = r#"portcullis_dataplane_rate_limit_requests_total{policy_namespace="default",policy="search",rule="stricter",outcome="#;
    let count = |outcome: &str| shop.gateway().metric(&format!("{series}\"{outcome}\"}}")).unwrap();
    let (allowed, shadowed) = (count("allowed").unwrap(), count("shadowed").unwrap());
    println!("{allowed} would have passed, {shadowed} would not");
    assert!(allowed + shadowed >= 60.0 && shadowed >= 1.0 && count("limited").unwrap_or(0.0) == 0.0);
}

/// A series that counts nothing yet is not shown, so this looks at what the program could show.
#[test]
fn what_the_dashboard_the_alerts_and_the_pages_name_is_there_to_be_seen() {
    let mut folders = vec![root().join("dataplane/src")];
    let mut source = String::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "rs" => source += &fs::read_to_string(path).unwrap(),
                _ => {}
            }
        }
    }
    let prefix = "portcullis_dataplane_";
    let mut named = BTreeSet::new();
    for file in [
        "charts/portcullis/files/dashboard.json",
        "charts/portcullis/templates/monitoring.yaml",
        "docs/rate-limits.md",
        "docs/concepts/limits.md",
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let names = text.match_indices(prefix).map(|(at, _)| {
            let rest = &text[at + prefix.len()..];
            let end = rest.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap_or(rest.len());
            rest[..end].to_owned()
        });
        // What ends so is a pattern.
        named.extend(names.filter(|name| !name.is_empty() && !name.ends_with('_')));
    }
    assert!(named.len() >= 5, "{named:?}");
    let of_histogram = |name: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    // Written as a whole, or as what stands before a group of names and the rest.
    let shown = |name: &str| {
        let grouped = name.match_indices('_').map(|(at, _)| name.split_at(at + 1));
        let mut parts = grouped.chain([("", name)]);
        source.contains(&format!("{prefix}{name}\""))
            || parts.any(|(group, rest)| {
                let before = format!("{prefix}{}\"", group.trim_end_matches('_'));
                let groups = source.contains(&format!("{prefix}{group}{{")) || source.contains(&before);
                groups && source.contains(&format!("\"{rest}\""))
            })
    };
    let missing: Vec<&String> = named.iter().filter(|name| !shown(name) && !shown(&of_histogram(name))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
