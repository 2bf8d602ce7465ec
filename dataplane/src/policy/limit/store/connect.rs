//! Connections to a store: one, multiplexed and pipelined, whatever its mode. None tries again by itself: whoever waits
//! must learn at once that there is nothing to wait for.

use std::time::Duration;

use portcullis_ir::{StoreConnection, StoreMode, StoreTls};
use portcullis_limits::StoreFailure;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    ServerErrorKind, TlsCertificates, TlsMode, Value,
};

use super::question::{Answer, Question};

/// For a connection, its login included.
const CONNECT: Duration = Duration::from_millis(500);
/// For one reply. Who waits for it waits less; a late grant is still of use.
const RESPONSE: Duration = Duration::from_millis(1000);
const SCRIPT: &str = include_str!("take.lua");

/// Cheap to clone; all clones share what is sent.
#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// # Errors
    /// Why there is none.
    pub(crate) async fn open(to: &StoreConnection) -> Result<Self, StoreFailure> {
        let opened = tokio::time::timeout(CONNECT, Self::connect(to));
        opened.await.map_err(|_| StoreFailure::Timeout)?.map_err(|error| failure(&error, StoreFailure::Connect))
    }

    async fn connect(to: &StoreConnection) -> Result<Self, RedisError> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT));
        let config = config.set_response_timeout(Some(RESPONSE));
        let tls = to.tls.as_ref().map(certificates);
        let addresses = to.addresses.iter().filter_map(|address| address_of(address, to.tls.is_some()));
        let addresses: Vec<ConnectionAddr> = addresses.collect();
        let client = match &to.mode {
            StoreMode::Single => {
                let Some(address) = addresses.into_iter().next() else { return Err(nowhere()) };
                let info = address.into_connection_info()?.set_redis_settings(login(to)?);
                match tls {
                    Some(tls) => Client::build_with_tls(info, tls)?,
                    None => Client::open(info)?,
                }
            }
            StoreMode::Sentinel(master) => {
                let mut builder = SentinelClientBuilder::new(addresses, &**master, SentinelServerType::Master)?;
                builder = builder.set_client_to_redis_db(i64::from(to.database));
                if let Some(username) = &to.username {
                    builder = builder.set_client_to_redis_username(username);
                }
                if let Some(password) = password(to)? {
                    builder = builder.set_client_to_redis_password(password);
                }
                if let Some(tls) = tls {
                    builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
                    builder = builder.set_client_to_redis_certificates(tls.clone());
                    builder = builder.set_client_to_sentinel_tls_mode(TlsMode::Secure);
                    builder = builder.set_client_to_sentinel_certificates(tls);
                }
                builder.build()?.async_get_client().await?
            }
            StoreMode::Cluster => {
                let mut builder = ClusterClientBuilder::new(addresses).retries(1).connection_timeout(CONNECT);
                builder = builder.response_timeout(RESPONSE).overall_response_timeout(Some(RESPONSE));
                if let Some(username) = &to.username {
                    builder = builder.username(username);
                }
                if let Some(password) = password(to)? {
                    builder = builder.password(password);
                }
                if let Some(tls) = tls {
                    builder = builder.tls(TlsMode::Secure).certs(tls);
                }
                return Ok(Self::Cluster(builder.build()?.get_async_connection().await?));
            }
        };
        Ok(Self::One(client.get_multiplexed_async_connection_with_config(&config).await?))
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Asks, and loads the script where it is not known: after a flush, a restart or a fail-over.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn ask(&mut self, question: &Question, nonce: &str) -> Result<Answer, StoreFailure> {
        let arguments = question.arguments(nonce);
        let known = self.send(&command("EVALSHA", sha(), question, &arguments)).await;
        let reply = match known {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(&command("EVAL", SCRIPT, question, &arguments)).await
            }
            known => known,
        };
        question.answer(&reply.map_err(|error| failure(&error, StoreFailure::Protocol))?)
    }

    async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_cluster() { "Cluster" } else { "One" })
    }
}

fn command(verb: &str, script: &str, question: &Question, arguments: &[String]) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(script).arg(question.counts.len());
    for asked in &question.counts {
        command.arg(&*asked.key);
    }
    command.arg(arguments);
    command
}

/// The script's name in the store.
fn sha() -> &'static str {
    static SHA: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| redis::Script::new(SCRIPT).get_hash().to_owned());
    &SHA
}

fn login(to: &StoreConnection) -> Result<RedisConnectionInfo, RedisError> {
    let mut login = RedisConnectionInfo::default().set_db(i64::from(to.database));
    if let Some(username) = &to.username {
        login = login.set_username(username);
    }
    if let Some(password) = password(to)? {
        login = login.set_password(password);
    }
    Ok(login)
}

fn password(to: &StoreConnection) -> Result<Option<&str>, RedisError> {
    let Some(password) = &to.password else { return Ok(None) };
    let text = std::str::from_utf8(password.expose());
    text.map(Some).map_err(|_| RedisError::from((ErrorKind::AuthenticationFailed, "the password is no text")))
}

fn address_of(address: &str, tls: bool) -> Option<ConnectionAddr> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = port.parse().ok()?;
    Some(if tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    })
}

fn certificates(tls: &StoreTls) -> TlsCertificates {
    let pem = |root: &[u8]| {
        let body = base64(root);
        let lines = body.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned());
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.collect::<Vec<_>>().join("\n"))
    };
    let roots: String = tls.roots.iter().map(|root| pem(root)).collect();
    TlsCertificates { client_tls: None, root_cert: (!tls.roots.is_empty()).then(|| roots.into_bytes()) }
}

/// RFC 4648, section 4: the client takes roots as PEM only.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    text
}

fn nowhere() -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, "no address can be read"))
}

/// What went wrong, in our words; `otherwise` if nothing better is known.
fn failure(error: &RedisError, otherwise: StoreFailure) -> StoreFailure {
    match error.kind() {
        ErrorKind::AuthenticationFailed => StoreFailure::Credentials,
        ErrorKind::Server(ServerErrorKind::NoPerm) => StoreFailure::Credentials,
        ErrorKind::Server(ServerErrorKind::ReadOnly) => StoreFailure::ReadOnly,
        ErrorKind::InvalidClientConfig => StoreFailure::Unknown,
        _ if error.is_timeout() => StoreFailure::Timeout,
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound | ErrorKind::MasterNameNotFoundBySentinel => {
            StoreFailure::Connect
        }
        _ => match error.code() {
            Some("WRONGPASS" | "NOAUTH" | "NOPERM") => StoreFailure::Credentials,
            Some("READONLY") => StoreFailure::ReadOnly,
            Some("OOM") => StoreFailure::Memory,
            // To whoever has not said a password a question of ours is too long: that is all it answers.
            _ if error.detail().is_some_and(|detail| detail.contains("unauthenticated")) => StoreFailure::Credentials,
            _ if error.detail().is_some_and(|detail| detail.contains("OOM")) => StoreFailure::Memory,
            _ if error.detail().is_some_and(|detail| detail.contains("READONLY")) => StoreFailure::ReadOnly,
            _ => otherwise,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_encoded_as_rfc_4648_says() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let plain = |address| match address_of(address, false) {
            Some(ConnectionAddr::Tcp(host, port)) => format!("{host} {port}"),
            _ => "none".to_owned(),
        };
        assert_eq!(plain("redis.shop:6379"), "redis.shop 6379");
        assert_eq!(plain("[::1]:6380"), "::1 6380");
        assert_eq!(plain("redis"), "none");
    }
}
