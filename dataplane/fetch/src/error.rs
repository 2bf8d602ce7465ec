//! Why there is no answer.

/// Shows no address and nothing of what was sent or answered: addresses may carry what nobody else may know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("the address is not absolute or holds a user; write it as https://host/path")]
    Address,
    #[error("the address is http, which was not asked for; use https, or allow http where the network is trusted")]
    Insecure,
    #[error("no connection: {0}; check the address, the port and who may reach it")]
    Connect(String),
    #[error("the server's certificate is not taken: {0}; name the CA that signed it")]
    Tls(String),
    #[error("no answer in time; check whether the server is overloaded")]
    Timeout,
    #[error("the answer is longer than {0} bytes; check the address")]
    TooLarge(usize),
    #[error("the answer leads to another server, which is not followed; name the address that it leads to")]
    Redirected,
    #[error("the connection broke off: {0}")]
    Broken(String),
}

impl FetchError {
    /// A label for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Insecure => "insecure",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout => "timeout",
            Self::TooLarge(_) => "too_large",
            Self::Redirected => "redirected",
            Self::Broken(_) => "broken",
        }
    }
}
