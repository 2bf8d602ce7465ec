//! The file of a snapshot: a checked header, and the messages that a server would send for it, compressed.
//!
//! ```text
//! "PCULLIS\0"  format u32  schema u32  raw u64  length u64  crc32 u32  zlib(messages, each with its length as u32)
//! ```
//! Numbers are big-endian. Everything read is bounded before memory is taken for it.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use portcullis_wire::SCHEMA;

const MAGIC: &[u8; 8] = b"PCULLIS\0";
const FORMAT: u32 = 1;
const HEADER: usize = 8 + 4 + 4 + 8 + 8 + 4;
/// Bytes of all messages together, before compression.
const MAX_RAW: u64 = 1024 * 1024 * 1024;
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// The messages of a stored snapshot, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored(pub(crate) Vec<Vec<u8>>);

#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidFile {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is no snapshot of this program")]
    Magic,
    #[error("it has format {0}; this program reads {FORMAT}")]
    Format(u32),
    #[error("it has schema {0}; this program reads {SCHEMA}")]
    Schema(u32),
    #[error("it is larger than {MAX_FILE} bytes, or says that it holds more than {MAX_RAW}")]
    TooLarge,
    #[error("it is truncated")]
    Truncated,
    #[error("its checksum does not fit: it is corrupted")]
    Checksum,
    #[error("its content does not fit its header: it is corrupted")]
    Content,
}

pub(crate) fn write_stored(stored: &Stored) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let mut raw = 0;
    for message in &stored.0 {
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        encoder.write_all(&length.to_be_bytes())?;
        encoder.write_all(message)?;
        raw += 4 + message.len() as u64;
    }
    let payload = encoder.finish()?;
    let mut file = Vec::with_capacity(HEADER + payload.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&FORMAT.to_be_bytes());
    file.extend_from_slice(&SCHEMA.to_be_bytes());
    file.extend_from_slice(&raw.to_be_bytes());
    file.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    file.extend_from_slice(&crc32fast::hash(&payload).to_be_bytes());
    file.extend_from_slice(&payload);
    Ok(file)
}

/// Reads a whole file. Never panics, whatever it holds.
pub(crate) fn read_stored(mut file: impl Read) -> Result<Stored, InvalidFile> {
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(InvalidFile::TooLarge);
    }
    let mut rest = &bytes[..];
    let magic: [u8; 8] = array(&mut rest)?;
    if magic != *MAGIC {
        return Err(InvalidFile::Magic);
    }
    let format = u32::from_be_bytes(array(&mut rest)?);
    if format != FORMAT {
        return Err(InvalidFile::Format(format));
    }
    let schema = u32::from_be_bytes(array(&mut rest)?);
    if schema != SCHEMA {
        return Err(InvalidFile::Schema(schema));
    }
    let raw = u64::from_be_bytes(array(&mut rest)?);
    let length = u64::from_be_bytes(array(&mut rest)?);
    let checksum = u32::from_be_bytes(array(&mut rest)?);
    if raw > MAX_RAW {
        return Err(InvalidFile::TooLarge);
    }
    if (rest.len() as u64) < length {
        return Err(InvalidFile::Truncated);
    }
    if rest.len() as u64 > length || crc32fast::hash(rest) != checksum {
        return Err(InvalidFile::Checksum);
    }
    messages(ZlibDecoder::new(rest).take(raw), raw)
}

fn messages(mut content: impl Read, raw: u64) -> Result<Stored, InvalidFile> {
    let broken = |_: io::Error| InvalidFile::Content;
    let mut left = raw;
    let mut messages = Vec::new();
    while left > 0 {
        let mut length = [0; 4];
        content.read_exact(&mut length).map_err(broken)?;
        let length = u64::from(u32::from_be_bytes(length));
        left = left.checked_sub(4 + length).ok_or(InvalidFile::Content)?;
        let mut message = Vec::new();
        content.by_ref().take(length).read_to_end(&mut message).map_err(broken)?;
        if message.len() as u64 != length {
            return Err(InvalidFile::Content);
        }
        messages.push(message);
    }
    Ok(Stored(messages))
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], InvalidFile> {
    let (taken, left) = rest.split_first_chunk().ok_or(InvalidFile::Truncated)?;
    *rest = left;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn stored() -> Stored {
        Stored(vec![b"first".to_vec(), Vec::new(), vec![7; 5000]])
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read_stored(&write_stored(&stored()).unwrap()[..]).unwrap(), stored());
        assert_eq!(read_stored(&write_stored(&Stored(Vec::new())).unwrap()[..]).unwrap(), Stored(Vec::new()));
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let file = write_stored(&stored()).unwrap();
        for length in 0..file.len() {
            assert!(read_stored(&file[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn another_schema_is_named() {
        let mut file = write_stored(&stored()).unwrap();
        file[15] = 99;
        assert!(matches!(read_stored(&file[..]), Err(InvalidFile::Schema(99))));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(at in 0usize..80, bit in 0u8..8) {
            let mut file = write_stored(&stored()).unwrap();
            let at = at % file.len();
            file[at] ^= 1 << bit;
            prop_assert!(read_stored(&file[..]).is_err());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read_stored(&bytes[..]).is_err());
        }

        #[test]
        fn no_payload_makes_the_reader_panic(payload in prop::collection::vec(any::<u8>(), 0..200), raw: u64) {
            let mut file = MAGIC.to_vec();
            file.extend_from_slice(&FORMAT.to_be_bytes());
            file.extend_from_slice(&SCHEMA.to_be_bytes());
            file.extend_from_slice(&raw.to_be_bytes());
            file.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            file.extend_from_slice(&crc32fast::hash(&payload).to_be_bytes());
            file.extend_from_slice(&payload);
            let read = read_stored(&file[..]);
            prop_assert!(raw == 0 || read.is_err());
        }
    }
}
