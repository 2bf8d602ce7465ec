//! Real Redis servers on loopback, each in a folder of its own, ended with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// For a server to come up, or a cluster to agree.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Redis {
    pub port: u16,
    settings: Vec<String>,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl Redis {
    /// With further settings, as on its command line.
    pub fn start(settings: &[&str]) -> Self {
        let mut server = Self {
            port: free_port(),
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            child: None,
            folder: tempfile::tempdir().unwrap(),
        };
        server.run();
        server
    }

    /// A sentinel that watches a master under the name `main`.
    pub fn sentinel(master: &Self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sentinel.conf");
        // A master is given up soon, so that the test of it does not last.
        const QUICK: &str = "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n";
        std::fs::write(&file, format!("sentinel monitor main 127.0.0.1 {} 1\n{QUICK}", master.port)).unwrap();
        let mut sentinel = Self { port: free_port(), settings: Vec::new(), child: None, folder };
        let child = Command::new("redis-server")
            .arg(file)
            .args(["--sentinel", "--port", &sentinel.port.to_string(), "--bind", "127.0.0.1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sentinel.child = Some(child);
        sentinel.wait(sentinel.port);
        sentinel
    }

    /// Starts it again, on the same port and with nothing remembered.
    pub fn run(&mut self) {
        let (port, folder) = (self.port.to_string(), self.folder.path());
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(folder)
            .args(&self.settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server: install the Debian package of that name, as scripts/test.sh does");
        self.child = Some(child);
        self.wait(self.port);
    }

    /// Until somebody listens.
    pub fn wait(&self, port: u16) {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "redis-server did not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it answers to one command, the first line of it.
    pub fn command(&self, words: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(format!("{words}\r\n").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// All that it answers to one command, with a password if there is one.
    pub fn say(&self, password: &str, words: &str) -> String {
        let mut command = cli(self.port);
        if !password.is_empty() {
            command.args(["--no-auth-warning", "-a", password]);
        }
        let output = command.args(words.split(' ')).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Calls of a command that it has answered.
    pub fn calls(&self, command: &str) -> u64 {
        let output = cli(self.port).args(["INFO", "commandstats"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Gone already, or going.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// It goes on holding its connections, and says nothing.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().unwrap();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    }
}

/// A way to a server whose answers can be made late.
pub struct Relay {
    port: u16,
    delay: Arc<AtomicU64>,
}

impl Relay {
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let delay = Arc::new(AtomicU64::new(0));
        let late = Arc::clone(&delay);
        // It ends with the test's process; each connection ends with either of its sides.
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(("127.0.0.1", to))) else { continue };
                let (questions, answers) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let late = Arc::clone(&late);
                std::thread::spawn(move || pass_on(questions, far, &AtomicU64::new(0)));
                std::thread::spawn(move || pass_on(answers, near, &late));
            }
        });
        Self { port, delay }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn delay(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, delay: &AtomicU64) {
    let mut bytes = [0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        std::thread::sleep(Duration::from_millis(delay.load(Ordering::Relaxed)));
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    // Gone already, or it hears so now.
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.go_on();
        }
        self.kill();
    }
}

/// Three nodes that share the slots.
pub fn cluster() -> [Redis; 3] {
    let nodes = [(); 3].map(|()| {
        let bus = free_port().to_string();
        Redis::start(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"])
    });
    let status = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(nodes.iter().map(Redis::address))
        .args(["--cluster-replicas", "0", "--cluster-yes"])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the cluster was not made");
    let until = Instant::now() + PATIENCE;
    let agree = |node: &Redis| {
        let output = cli(node.port).args(["CLUSTER", "INFO"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("cluster_state:ok")
    };
    while !nodes.iter().all(agree) {
        assert!(Instant::now() < until, "the cluster does not agree");
        std::thread::sleep(Duration::from_millis(50));
    }
    nodes
}

fn cli(port: u16) -> Command {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    command
}

/// As in the tests of HTTP: outside of what the system gives to clients, and elsewhere for each process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 150).unwrap() * 30;
    loop {
        let port = 5_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 5_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
