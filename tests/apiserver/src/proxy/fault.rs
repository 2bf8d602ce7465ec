//! What can go wrong, and the orders to let it.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::Call;

/// What a call meets instead of the server's answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, with a Status object as the server would send it.
    Status(u16),
    /// 429 with Retry-After in seconds.
    TooManyRequests { retry_after: u32 },
    /// 410: the resource version or the page of a list is too old.
    Gone,
    /// The connection is cut without an answer; the server never hears of the call.
    Cut,
    /// The server does what is asked, and the connection is cut before the client learns of it.
    CutAnswer,
    /// The call waits before the gate, and then goes to the server.
    Hold(Gate),
}

/// Stops calls until it is opened.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Doors>);

#[derive(Debug)]
struct Doors {
    /// A permit for each call that came.
    arrived: Semaphore,
    /// Closed once the gate is open.
    shut: Semaphore,
}

impl Gate {
    /// A gate that is shut.
    #[allow(clippy::new_without_default)] // A default gate says nothing of being shut.
    pub fn new() -> Self {
        Self(Arc::new(Doors { arrived: Semaphore::new(0), shut: Semaphore::new(0) }))
    }

    /// Waits until a call (one more, if asked again) stands before it.
    pub async fn reached(&self) {
        let patience = std::time::Duration::from_secs(60);
        let arrived = tokio::time::timeout(patience, self.0.arrived.acquire()).await;
        arrived.expect("no call came to the gate").expect("never closed").forget();
    }

    /// Lets them all through, and all later ones.
    pub fn open(&self) {
        self.0.shut.close();
    }

    pub(crate) async fn pass(&self) {
        self.0.arrived.add_permits(1);
        // It fails once the semaphore is closed, which is what is awaited.
        let _ = self.0.shut.acquire().await;
    }
}

pub(crate) type Predicate = Arc<dyn Fn(&Call) -> bool + Send + Sync>;

/// Faults that are still to be met.
#[derive(Default)]
pub(crate) struct Orders(Mutex<Vec<Order>>);

struct Order {
    left: usize,
    fault: Fault,
    which: Predicate,
}

impl Orders {
    pub(crate) fn add(&self, times: usize, fault: Fault, which: Predicate) {
        self.0.lock().unwrap().push(Order { left: times, fault, which });
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    /// The first fault that is meant for this call.
    pub(crate) fn take(&self, call: &Call) -> Option<Fault> {
        let mut orders = self.0.lock().unwrap();
        let order = orders.iter_mut().find(|order| order.left > 0 && (order.which)(call))?;
        order.left -= 1;
        Some(order.fault.clone())
    }
}

impl fmt::Debug for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let orders = self.0.lock().unwrap();
        f.debug_list().entries(orders.iter().map(|order| (order.left, &order.fault))).finish()
    }
}
