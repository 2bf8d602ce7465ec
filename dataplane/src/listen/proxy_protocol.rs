//! PROXY protocol version 2: the client's address as a trusted load balancer in front of us knows it.
//!
//! Pure parser; <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>, 2.2. Version 1 (text) is not taken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;
/// Longest address block with its TLVs. The format allows 65,535; senders need a few hundred.
const MAX_LENGTH: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// None for `LOCAL` (the proxy's own health checks) and for families without an address: the peer stands.
    pub(super) source: Option<SocketAddr>,
    /// Bytes that the header takes, TLVs included.
    pub(super) length: usize,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("connection does not begin with a PROXY protocol version 2 header; let the load balancer send one")]
    Signature,
    #[error("PROXY header has version or command {0:#04x}; only version 2 with LOCAL or PROXY is taken")]
    Command(u8),
    #[error("PROXY header of {0} bytes is longer than {MAX_LENGTH}")]
    TooLong(usize),
    #[error("PROXY header is too short for its address family")]
    TooShort,
    #[error("the peer left within its PROXY header")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads one header; bytes beyond it come back with it. Bounded in bytes; the caller bounds the time.
pub(super) async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Header, Vec<u8>), ProxyError> {
    let mut bytes = Vec::with_capacity(256);
    loop {
        if let Some(header) = parse(&bytes)? {
            return Ok((header, bytes.split_off(header.length)));
        }
        bytes.reserve(256);
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(ProxyError::Closed);
        }
    }
}

/// None: incomplete so far. Refuses at the first byte that cannot belong to a header.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let begun = bytes.len().min(SIGNATURE.len());
    if bytes[..begun] != SIGNATURE[..begun] {
        return Err(ProxyError::Signature);
    }
    let Some(&[version_command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else { return Ok(None) };
    if !matches!(version_command, 0x20 | 0x21) {
        return Err(ProxyError::Command(version_command));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_LENGTH {
        return Err(ProxyError::TooLong(length));
    }
    let Some(block) = bytes.get(FIXED..FIXED + length) else { return Ok(None) };
    // "LOCAL … the receiver must accept this connection as valid and must use the real connection endpoints"
    let source = if version_command == 0x20 { None } else { source(family, block)? };
    Ok(Some(Header { source, length: FIXED + length }))
}

/// TCP and UDP over IPv4 (0x1_) and IPv6 (0x2_); others "must be accepted", with the real endpoints. What follows the
/// addresses are TLVs, which nothing here needs.
fn source(family: u8, block: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let port = |bytes: &[u8; 2]| u16::from_be_bytes(*bytes);
    match family >> 4 {
        1 => {
            let (address, rest) = block.split_first_chunk::<4>().ok_or(ProxyError::TooShort)?;
            let (source, _) = rest.get(4..8).and_then(|ports| ports.split_first_chunk()).ok_or(ProxyError::TooShort)?;
            Ok(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(*address)), port(source))))
        }
        2 => {
            let (address, rest) = block.split_first_chunk::<16>().ok_or(ProxyError::TooShort)?;
            let (source, _) =
                rest.get(16..20).and_then(|ports| ports.split_first_chunk()).ok_or(ProxyError::TooShort)?;
            Ok(Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(*address)).to_canonical(), port(source))))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn header(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[version_command, family]);
        bytes.extend_from_slice(&u16::try_from(block.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(block);
        bytes
    }

    fn block(source: SocketAddr, tlvs: &[u8]) -> (u8, Vec<u8>) {
        let mut block = Vec::new();
        let family = match source.ip() {
            IpAddr::V4(ip) => {
                block.extend_from_slice(&ip.octets());
                block.extend_from_slice(&[127, 0, 0, 1]);
                0x11
            }
            IpAddr::V6(ip) => {
                block.extend_from_slice(&ip.octets());
                block.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
                0x21
            }
        };
        block.extend_from_slice(&source.port().to_be_bytes());
        block.extend_from_slice(&443u16.to_be_bytes());
        block.extend_from_slice(tlvs);
        (family, block)
    }

    #[test]
    fn local_connections_keep_their_peer() {
        let parsed = parse(&header(0x20, 0x00, &[])).unwrap().unwrap();
        assert_eq!(parsed, Header { source: None, length: 16 });
        let unix = parse(&header(0x21, 0x31, &[0; 216])).unwrap().unwrap();
        assert_eq!(unix.source, None);
    }

    #[test]
    fn what_is_no_header_is_refused_at_its_first_wrong_byte() {
        assert!(matches!(parse(b"G"), Err(ProxyError::Signature)));
        assert!(matches!(parse(b"PROXY TCP4 1.2.3.4"), Err(ProxyError::Signature)));
        assert!(matches!(parse(&header(0x11, 0x11, &[0; 12])), Err(ProxyError::Command(0x11))));
        assert!(matches!(parse(&header(0x21, 0x11, &[0; 11])), Err(ProxyError::TooShort)));
        assert!(matches!(parse(&header(0x21, 0x21, &[0; 35])), Err(ProxyError::TooShort)));
        let mut long = header(0x21, 0x11, &[]);
        long[14..16].copy_from_slice(&[0xff, 0xff]);
        assert!(matches!(parse(&long), Err(ProxyError::TooLong(65_535))));
    }

    #[tokio::test]
    async fn bytes_behind_the_header_are_kept() {
        let (family, block) = block("192.0.2.7:1234".parse().unwrap(), &[0x04, 0, 2, 9, 9]);
        let mut bytes = header(0x21, family, &block);
        bytes.extend_from_slice(b"GET /");
        let (parsed, rest) = read_header(&mut &bytes[..]).await.unwrap();
        assert_eq!(parsed.source, Some("192.0.2.7:1234".parse().unwrap()));
        assert_eq!(rest, b"GET /");
    }

    proptest! {
        #[test]
        fn an_address_comes_back_as_it_was_sent(ip: IpAddr, port: u16, tlvs in prop::collection::vec(any::<u8>(), 0..64)) {
            let (family, block) = block(SocketAddr::new(ip, port), &tlvs);
            let bytes = header(0x21, family, &block);
            let parsed = parse(&bytes).unwrap().unwrap();
            prop_assert_eq!(parsed.source, Some(SocketAddr::new(ip.to_canonical(), port)));
            prop_assert_eq!(parsed.length, bytes.len());
            for cut in 0..bytes.len() {
                prop_assert!(parse(&bytes[..cut]).unwrap().is_none());
            }
        }

        #[test]
        fn no_bytes_make_the_parser_panic(version_command: u8, family: u8, block in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(parsed)) = parse(&header(version_command, family, &block)) {
                prop_assert_eq!(parsed.length, 16 + block.len());
            }
        }
    }
}
