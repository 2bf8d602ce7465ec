//! The network: a relay whose far side can be changed, and whose connections can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    /// Where to, and how often it was cut.
    to: watch::Sender<(Option<SocketAddr>, u64)>,
}

impl Wire {
    /// Leads to `to`, or nowhere yet.
    pub(crate) async fn start(to: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to, mut target) = watch::channel((to, 0));
        tokio::spawn(async move {
            loop {
                let Ok((mut near, _)) = listener.accept().await else { return };
                let (Some(to), _) = *target.borrow_and_update() else { continue };
                let mut cut = target.clone();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(to).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, to }
    }

    /// Cuts every connection; new ones lead to `to`.
    pub(crate) fn lead(&self, to: Option<SocketAddr>) {
        self.to.send_modify(|(target, cuts)| (*target, *cuts) = (to, *cuts + 1));
    }

    pub(crate) fn cut(&self) {
        self.to.send_modify(|(_, cuts)| *cuts += 1);
    }
}
