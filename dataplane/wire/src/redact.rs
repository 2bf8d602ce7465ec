//! `Debug` of the messages that hold secrets, in the open or inside of encoded resources. Secrets redact themselves in
//! every printer; `build.rs` keeps prost from deriving these.

use std::fmt;

use crate::proto::{Certificate, Credential, Delta, Snapshot, StoreConnection, credential, store_connection};

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, private_key: _ } = self;
        f.debug_struct("Certificate").field("chain", &chain.len()).field("private_key", &"<redacted>").finish()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(<redacted>)")
    }
}

impl fmt::Debug for credential::Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl fmt::Debug for store_connection::Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "Single",
            Self::Sentinel(_) => "Sentinel",
            Self::Cluster(_) => "Cluster",
        })
    }
}

impl fmt::Debug for StoreConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, addresses, tls, username, password: _, database } = self;
        f.debug_struct("StoreConnection")
            .field("mode", mode)
            .field("addresses", addresses)
            .field("tls", &tls.is_some())
            .field("username", username)
            .field("password", &"<redacted>")
            .field("database", database)
            .finish()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, config, live, part, parts, lane, resources } = self;
        f.debug_struct("Snapshot")
            .field("epoch", epoch)
            .field("config", config)
            .field("live", live)
            .field("part", part)
            .field("parts", parts)
            .field("lane", lane)
            .field("resources", &resources.len())
            .finish()
    }
}

impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, config, live, part, parts, lane, upserts, removals } = self;
        f.debug_struct("Delta")
            .field("epoch", epoch)
            .field("config", config)
            .field("live", live)
            .field("part", part)
            .field("parts", parts)
            .field("lane", lane)
            .field("upserts", &upserts.len())
            .field("removals", &removals.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_printer_shows_a_private_key() {
        let certificate = Certificate { chain: vec![vec![1]], private_key: b"hunter2".to_vec() };
        let printed = format!("{certificate:?}");
        assert_eq!(printed, "Certificate { chain: 1, private_key: \"<redacted>\" }");
        let bytes = prost::Message::encode_to_vec(&certificate);
        let snapshot = Snapshot { resources: vec![bytes.clone()], ..Snapshot::default() };
        let delta = Delta { upserts: vec![bytes], ..Delta::default() };
        // Bytes are printed as numbers: 104 is the key's first letter.
        assert!(!format!("{snapshot:?}{delta:?}").contains("104"));
    }
}
