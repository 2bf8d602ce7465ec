//! A proxy before the API server that makes it misbehave on order, and remembers what was asked.
//!
//! Plain HTTP/1.1 to the client, the real server's TLS and the given identity behind. Faults are given out in the order
//! they were ordered in, each to so many calls that its predicate picks.

mod call;
mod fault;
mod journal;
mod serve;
mod watches;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use kube::{Client, Config};
use socket2::{Domain, Socket, Type};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

pub use call::{Call, Verb};
pub use fault::{Fault, Gate};
pub use journal::Mark;

use fault::Orders;
use journal::Journal;
use watches::WatchOrder;

/// Watches that may miss an order before one of them is told that it did, which ends it: a bound that no test reaches.
const ORDERS_IN_FLIGHT: usize = 64;

/// See the head of the file.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// `None` while the server is "away".
    listening: Mutex<Option<JoinHandle<()>>>,
    /// Bound, never listening: keeps the port while the server is away.
    _port: Socket,
}

/// What the connections share.
pub(crate) struct Shared {
    server: Client,
    faults: Orders,
    journal: Journal,
    watches: broadcast::Sender<WatchOrder>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("faults", &self.faults).field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl FaultProxy {
    /// A proxy that speaks to the server as `server` says: with its address and its identity.
    pub fn start(server: Config) -> Self {
        let mut server = server;
        // What the server answers is for the client behind the proxy to judge.
        server.default_retry = false;
        let port = shared_socket(0);
        let address = port.local_addr().unwrap().as_socket().expect("an IPv4 socket");
        let shared = Arc::new(Shared {
            server: Client::try_from(server).expect("a whole configuration"),
            faults: Orders::default(),
            journal: Journal::default(),
            watches: broadcast::Sender::new(ORDERS_IN_FLIGHT),
        });
        let proxy = Self { address, shared, listening: Mutex::new(None), _port: port };
        proxy.come_back();
        proxy
    }

    /// For a client that believes this to be the API server.
    pub fn config(&self) -> Config {
        Config::new(format!("http://{}", self.address).parse().unwrap())
    }

    /// A client that believes this to be the API server.
    pub fn client(&self) -> Client {
        Client::try_from(self.config()).expect("a whole configuration")
    }

    /// Gives `fault` to the next `times` calls that `which` picks, instead of the server's answer.
    pub fn inject(&self, times: usize, fault: Fault, which: impl Fn(&Call) -> bool + Send + Sync + 'static) {
        self.shared.faults.add(times, fault, Arc::new(which));
    }

    /// Forgets faults that nobody has met yet.
    pub fn heal(&self) {
        self.shared.faults.clear();
    }

    /// Ends the open watches that `which` picks, as a server does when it restarts.
    pub fn close_watches(&self, which: impl Fn(&Call) -> bool + Send + Sync + 'static) {
        self.order_watches(WatchOrder::close(which));
    }

    /// Tells the open watches that `which` picks that their resource version is too old (410 Gone).
    pub fn expire_watches(&self, which: impl Fn(&Call) -> bool + Send + Sync + 'static) {
        self.order_watches(WatchOrder::expire(which));
    }

    /// Refuses connections and cuts those that are open, until `come_back`.
    pub async fn go_away(&self) {
        let listening = self.listening.lock().unwrap().take();
        if let Some(task) = listening {
            task.abort();
            // Only then is the socket closed.
            let _ = task.await;
        }
    }

    /// Ends `go_away`.
    pub fn come_back(&self) {
        let socket = shared_socket(self.address.port());
        socket.listen(1024).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(socket.into()).unwrap();
        *self.listening.lock().unwrap() = Some(tokio::spawn(serve::serve(listener, Arc::clone(&self.shared))));
    }

    /// A place in the journal: now.
    pub fn mark(&self) -> Mark {
        self.shared.journal.mark()
    }

    /// What was asked since, in order.
    pub fn calls_since(&self, mark: Mark) -> Vec<Call> {
        self.shared.journal.since(mark)
    }

    /// What was asked that changes something, in order, leases left out: holding one is no news.
    pub fn writes_since(&self, mark: Mark) -> Vec<Call> {
        let mut calls = self.calls_since(mark);
        calls.retain(|call| call.is_write() && call.resource != "leases");
        calls
    }

    /// Waits until `which` has picked that many calls since `mark` and each was answered.
    ///
    /// # Panics
    /// After a minute, with what was asked instead.
    pub async fn saw(&self, mark: Mark, times: usize, which: impl Fn(&Call) -> bool) {
        self.shared.journal.saw(mark, times, which).await;
    }

    fn order_watches(&self, order: WatchOrder) {
        // Without an open watch nobody listens, and there is nothing to end.
        let _ = self.shared.watches.send(order);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(task) = self.listening.get_mut().ok().and_then(Option::take) {
            task.abort();
        }
    }
}

fn shared_socket(port: u16) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    socket
}
