//! A name server on loopback that answers A and AAAA questions from a table, and can fall silent.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;

#[derive(Clone, Debug)]
pub(in crate::upstream::tests) struct NameServer {
    address: SocketAddr,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    addresses: Vec<IpAddr>,
    failing: bool,
    questions: usize,
}

impl NameServer {
    /// Answers every name with `addresses`, for a second.
    pub(in crate::upstream::tests) async fn start(addresses: &[&str]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: socket.local_addr().unwrap(), table: Arc::default() };
        server.says(addresses);
        let table = Arc::clone(&server.table);
        tokio::spawn(async move {
            let mut buf = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buf).await {
                if let Some(answer) = answer(&buf[..length], &table) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        server
    }

    pub(in crate::upstream::tests) fn says(&self, addresses: &[&str]) {
        self.table.lock().unwrap().addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    }

    pub(in crate::upstream::tests) fn fails(&self, failing: bool) {
        self.table.lock().unwrap().failing = failing;
    }

    pub(in crate::upstream::tests) fn questions(&self) -> usize {
        self.table.lock().unwrap().questions
    }

    pub(in crate::upstream::tests) fn config(&self) -> ResolverConfig {
        let mut connection = ConnectionConfig::udp();
        connection.port = self.address.port();
        ResolverConfig::from_name_servers(vec![NameServerConfig::new(self.address.ip(), true, vec![connection])])
    }
}

fn answer(question: &[u8], table: &Mutex<Table>) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    let query = question.queries.first()?.clone();
    let mut table = table.lock().unwrap();
    table.questions += 1;
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.add_query(query.clone());
    if table.failing {
        answer.metadata.response_code = ResponseCode::ServFail;
        return answer.to_vec().ok();
    }
    for address in &table.addresses {
        let record = match (query.query_type(), address) {
            (RecordType::A, IpAddr::V4(address)) => RData::A((*address).into()),
            (RecordType::AAAA, IpAddr::V6(address)) => RData::AAAA((*address).into()),
            _ => continue,
        };
        answer.add_answer(Record::from_rdata(query.name().clone(), 1, record));
    }
    answer.to_vec().ok()
}
