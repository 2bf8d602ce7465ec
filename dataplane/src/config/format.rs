//! The file of a snapshot: a checked header, the messages that a server would send for it, compressed, and behind them what has
//! changed since.
//!
//! ```text
//! "PCULLIS\0"  format u32  schema u32  raw u64  length u64  crc32 u32  zlib(messages, each with its length as u32)
//! and for each message of a change:  length u32  crc32 u32  message
//! ```
//! Numbers are big-endian. Everything read is bounded before memory is taken for it. The first change that is not whole ends the
//! file: a crash has cut it off.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use portcullis_wire::SCHEMA;

const MAGIC: &[u8; 8] = b"PCULLIS\0";
/// 1 was the same without changes, and is read as well.
const FORMAT: u32 = 2;
const HEADER: usize = 8 + 4 + 4 + 8 + 8 + 4;
/// Bytes of a change beside its message.
const RECORD: usize = 4 + 4;
/// Bytes of all messages together, before compression.
const MAX_RAW: u64 = 1024 * 1024 * 1024;
/// Bytes of a file that is read.
pub(super) const MAX_FILE: u64 = 256 * 1024 * 1024;

/// The messages of a stored snapshot, and of what has changed since, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) snapshot: Vec<Vec<u8>>,
    pub(crate) changes: Vec<Vec<u8>>,
    /// The last change was not whole.
    pub(crate) cut_off: bool,
}

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

/// The file of a snapshot to which nothing has been added.
pub(crate) fn write_snapshot(messages: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let mut raw = 0;
    for message in messages {
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

/// What is written behind the rest for the messages of a change.
pub(crate) fn write_change(messages: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(messages.iter().map(|message| RECORD + message.len()).sum());
    for message in messages {
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&crc32fast::hash(message).to_be_bytes());
        bytes.extend_from_slice(message);
    }
    Ok(bytes)
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
    if !(1..=FORMAT).contains(&format) {
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
    let (payload, behind) =
        usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)).ok_or(InvalidFile::Truncated)?;
    if crc32fast::hash(payload) != checksum {
        return Err(InvalidFile::Checksum);
    }
    let snapshot = messages(ZlibDecoder::new(payload).take(raw), raw)?;
    let (changes, cut_off) = changes(behind);
    Ok(Stored { snapshot, changes, cut_off })
}

/// Those that are whole, and whether there is more.
fn changes(mut rest: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut changes = Vec::new();
    while let Some((message, behind)) = change(rest) {
        changes.push(message.to_vec());
        rest = behind;
    }
    (changes, !rest.is_empty())
}

fn change(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = rest.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let (message, behind) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    (crc32fast::hash(message) == u32::from_be_bytes(*checksum)).then_some((message, behind))
}

fn messages(mut content: impl Read, raw: u64) -> Result<Vec<Vec<u8>>, InvalidFile> {
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
    Ok(messages)
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
        let snapshot = vec![b"first".to_vec(), Vec::new(), vec![7; 5000]];
        Stored { snapshot, changes: vec![b"second".to_vec(), Vec::new(), vec![8; 300]], cut_off: false }
    }

    /// The bytes of a file, and how many of them are the snapshot's.
    fn written(stored: &Stored) -> (Vec<u8>, usize) {
        let mut file = write_snapshot(&stored.snapshot).unwrap();
        let snapshot = file.len();
        file.extend(write_change(&stored.changes).unwrap());
        (file, snapshot)
    }

    #[test]
    fn what_was_written_is_read() {
        for stored in [stored(), Stored { changes: Vec::new(), ..stored() }, Stored::default()] {
            assert_eq!(read_stored(&written(&stored).0[..]).unwrap(), stored);
        }
    }

    #[test]
    fn a_snapshot_cut_anywhere_is_refused_and_of_changes_the_whole_ones_stay() {
        let (file, snapshot) = written(&stored());
        for length in 0..snapshot {
            assert!(read_stored(&file[..length]).is_err(), "{length}");
        }
        let mut whole = snapshot;
        let mut kept = Vec::new();
        for change in stored().changes {
            for length in whole + 1..whole + RECORD + change.len() {
                let Stored { changes, cut_off, .. } = read_stored(&file[..length]).unwrap();
                assert!(changes == kept && cut_off, "{length}");
            }
            whole += RECORD + change.len();
            kept.push(change);
        }
        assert_eq!(whole, file.len());
    }

    #[test]
    fn a_file_of_the_format_before_is_read() {
        let mut file = write_snapshot(&stored().snapshot).unwrap();
        file[11] = 1;
        assert_eq!(read_stored(&file[..]).unwrap().snapshot, stored().snapshot);
        file[11] = 3;
        assert!(matches!(read_stored(&file[..]), Err(InvalidFile::Format(3))));
    }

    #[test]
    fn another_schema_is_named() {
        let mut file = write_snapshot(&stored().snapshot).unwrap();
        file[15] = 99;
        assert!(matches!(read_stored(&file[..]), Err(InvalidFile::Schema(99))));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(at: prop::sample::Index, bit in 0u8..8) {
            let (mut file, snapshot) = written(&stored());
            let at = at.index(file.len());
            // Of the two formats one is read as the other.
            prop_assume!(!(8..12).contains(&at));
            file[at] ^= 1 << bit;
            match read_stored(&file[..]) {
                Ok(read) => prop_assert!(at >= snapshot && read.cut_off && stored().changes.starts_with(&read.changes)),
                Err(_) => prop_assert!(at < snapshot),
            }
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
