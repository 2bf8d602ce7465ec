//! What a client's first bytes say, found out without losing them: a ClientHello, or the HTTP/2 preface.

use std::io::{self, Read};

use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// RFC 9113, 3.4.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest ClientHello that is waited for. Real ones, with post-quantum key shares, stay below 4 KiB.
const MAX_HELLO: usize = 32 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preface {
    Http2,
    Other,
    /// All bytes so far are the beginning of the preface.
    Undecided,
}

pub(super) fn preface(bytes: &[u8]) -> Preface {
    let length = bytes.len().min(PREFACE.len());
    if bytes[..length] != PREFACE[..length] {
        Preface::Other
    } else if length == PREFACE.len() {
        Preface::Http2
    } else {
        Preface::Undecided
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    #[error("the client left before it had said hello")]
    Closed,
    #[error("the client's first bytes are no TLS: {0}")]
    NotTls(rustls::Error),
    #[error("the ClientHello is larger than {MAX_HELLO} bytes")]
    TooLarge,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads until the ClientHello is complete; `bytes` is what was read before. With it comes all that was read, for whom
/// it is handed on to unopened. What does not parse is answered with its alert. Bounded in bytes; the caller bounds the
/// time.
pub(super) async fn read_hello<S>(stream: &mut S, mut bytes: Vec<u8>) -> Result<(Accepted, Vec<u8>), HelloError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut acceptor = Acceptor::default();
    let mut fed = 0;
    loop {
        if fed < bytes.len() {
            match feed(&mut acceptor, &bytes[fed..]) {
                Ok(Some(accepted)) => return Ok((accepted, bytes)),
                Ok(None) => fed = bytes.len(),
                Err((error, alert)) => {
                    // The client may be gone already; its handshake has failed either way.
                    let _ = stream.write_all(&alert).await;
                    let _ = stream.shutdown().await;
                    return Err(HelloError::NotTls(error));
                }
            }
        }
        if bytes.len() >= MAX_HELLO {
            return Err(HelloError::TooLarge);
        }
        bytes.reserve(2048);
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(HelloError::Closed);
        }
    }
}

type Failed = (rustls::Error, Vec<u8>);

fn feed(acceptor: &mut Acceptor, mut fresh: &[u8]) -> Result<Option<Accepted>, Failed> {
    while !fresh.is_empty() {
        // Reading from a slice cannot fail; an error is the acceptor's refusal to buffer more.
        let taken = acceptor.read_tls(&mut fresh as &mut dyn Read);
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(Some(accepted)),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                // Writing into a vector cannot fail.
                let _ = alert.write_all(&mut bytes);
                return Err((error, bytes));
            }
        }
        if taken.is_err() {
            return Err((rustls::Error::General("handshake message is too large".to_owned()), Vec::new()));
        }
    }
    Ok(None)
}

/// A fatal alert as plain text, for handshakes that end before a configuration was chosen (RFC 8446, 6.2).
pub(super) async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S, alert: Alert) {
    // Best effort: the handshake has failed, whether or not the client still listens.
    let _ = stream.write_all(&[0x15, 3, 1, 0, 2, 2, alert as u8]).await;
    let _ = stream.shutdown().await;
}

/// RFC 8446, 6.
#[derive(Clone, Copy, Debug)]
pub(super) enum Alert {
    InternalError = 80,
    UnrecognizedName = 112,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_preface_is_decided_at_the_first_byte_that_differs() {
        assert_eq!(preface(b""), Preface::Undecided);
        assert_eq!(preface(b"PRI * HT"), Preface::Undecided);
        assert_eq!(preface(b"PRI * HTTX"), Preface::Other);
        assert_eq!(preface(b"G"), Preface::Other);
        assert_eq!(preface(PREFACE), Preface::Http2);
        assert_eq!(preface(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"), Preface::Http2);
    }

    #[tokio::test]
    async fn what_is_no_tls_is_refused_with_an_alert() {
        let (mut client, mut server) = tokio::io::duplex(1024);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(matches!(read_hello(&mut server, Vec::new()).await, Err(HelloError::NotTls(_))));
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.first(), Some(&0x15));
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_no_error_of_ours() {
        let (client, mut server) = tokio::io::duplex(1024);
        drop(client);
        assert!(matches!(read_hello(&mut server, Vec::new()).await, Err(HelloError::Closed)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut acceptor = Acceptor::default();
            let _ = feed(&mut acceptor, &bytes);
        }
    }
}
