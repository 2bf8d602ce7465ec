//! Reads the archives of the Go module proxy: plain zip, deflated, no zip64.

use std::io::Read;

use flate2::read::DeflateDecoder;

const END_OF_DIRECTORY: [u8; 4] = *b"PK\x05\x06";
const DIRECTORY_ENTRY: [u8; 4] = *b"PK\x01\x02";

/// The files whose names contain `part`, by name.
///
/// # Panics
/// If `archive` is not such an archive.
pub(crate) fn files_with(archive: &[u8], part: &str) -> Vec<(String, String)> {
    let end = archive.windows(4).rposition(|window| window == END_OF_DIRECTORY).expect("a zip archive");
    let count = u16_at(archive, end + 10);
    let mut at = u32_at(archive, end + 16);
    let mut found = Vec::new();
    for _ in 0..count {
        assert_eq!(archive[at..at + 4], DIRECTORY_ENTRY, "a damaged zip archive");
        let (method, size) = (u16_at(archive, at + 10), u32_at(archive, at + 20));
        let (name, extra, comment) = (u16_at(archive, at + 28), u16_at(archive, at + 30), u16_at(archive, at + 32));
        let file = u32_at(archive, at + 42);
        let path = String::from_utf8_lossy(&archive[at + 46..at + 46 + name]).into_owned();
        if path.contains(part) {
            // The file's own header repeats its name; its extra fields may differ from the directory's.
            let start = file + 30 + u16_at(archive, file + 26) + u16_at(archive, file + 28);
            found.push((path, text(method, &archive[start..start + size])));
        }
        at += 46 + name + extra + comment;
    }
    found.sort();
    found
}

fn text(method: usize, bytes: &[u8]) -> String {
    let mut text = String::new();
    match method {
        0 => text.push_str(std::str::from_utf8(bytes).expect("a text file")),
        8 => drop(DeflateDecoder::new(bytes).read_to_string(&mut text).expect("a deflated text file")),
        other => panic!("compression method {other} in a Go module"),
    }
    text
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u16_at(bytes, at) | u16_at(bytes, at + 2) << 16
}
