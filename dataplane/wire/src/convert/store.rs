//! The store that replicas count in together.

use portcullis_ir::{Secret, Store, StoreConnection, StoreKey, StoreMode, StoreTls};

use crate::bounds::{CREDENTIAL, LABEL, ROOTS, STORE_ADDRESSES, der, list, text};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::store_connection::Mode;

pub(super) fn encode(store: &Store) -> proto::Store {
    let Store { key: _, replicas, connection } = store;
    proto::Store { replicas: *replicas, connection: connection.as_ref().map(encode_connection) }
}

pub(super) fn decode(key: StoreKey, store: proto::Store) -> Result<Store, InvalidResource> {
    let proto::Store { replicas, connection } = store;
    if replicas == 0 {
        return Err(InvalidResource::new(Problem::Missing)).at("replicas");
    }
    Ok(Store { key, replicas, connection: connection.map(decode_connection).transpose().at("connection")? })
}

/// The password leaves its [`Secret`] for the wire, which is mutually authenticated TLS or memory.
fn encode_connection(connection: &StoreConnection) -> proto::StoreConnection {
    let StoreConnection { mode, addresses, tls, username, password, database } = connection;
    let mode = match mode {
        StoreMode::Single => Mode::Single(proto::Any {}),
        StoreMode::Sentinel(master) => Mode::Sentinel(master.to_string()),
        StoreMode::Cluster => Mode::Cluster(proto::Any {}),
    };
    proto::StoreConnection {
        mode: Some(mode),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        tls: tls
            .as_ref()
            .map(|StoreTls { roots }| proto::StoreTls { roots: roots.iter().map(|root| root.to_vec()).collect() }),
        username: username.as_ref().map(ToString::to_string),
        password: password.as_ref().map(|password| password.expose().to_vec()),
        database: *database,
    }
}

fn decode_connection(connection: proto::StoreConnection) -> Result<StoreConnection, InvalidResource> {
    let proto::StoreConnection { mode, addresses, tls, username, password, database } = connection;
    let mode = match mode.ok_or_else(|| Problem::Unsupported.into()).at("mode")? {
        Mode::Single(proto::Any {}) => StoreMode::Single,
        Mode::Sentinel(master) => StoreMode::Sentinel(text(master, LABEL).at("sentinel")?.into()),
        Mode::Cluster(proto::Any {}) => StoreMode::Cluster,
    };
    let decode_tls = |proto::StoreTls { roots }| -> Result<_, InvalidResource> {
        Ok(StoreTls { roots: list(roots, ROOTS, |root| Ok(der(root)?.into())).at("roots")? })
    };
    if password.as_ref().is_some_and(|password| password.len() > CREDENTIAL) {
        return Err(InvalidResource::new(Problem::Text("is too long"))).at("password");
    }
    Ok(StoreConnection {
        mode,
        addresses: list(addresses, STORE_ADDRESSES, |address| Ok(text(address, LABEL)?.into())).at("addresses")?,
        tls: tls.map(decode_tls).transpose().at("tls")?,
        username: username.map(|name| text(name, LABEL)).transpose().at("username")?.map(Into::into),
        password: password.map(Secret::new),
        database,
    })
}
