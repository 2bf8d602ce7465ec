//! Compiles `proto/portcullis.proto` with protox (no `protoc` to install) and prost-build.

use std::error::Error;

const PROTO: &str = "proto/portcullis.proto";
const PACKAGE: &str = "portcullis.dataplane.v1";
/// Messages that hold secrets, in the open or inside of encoded resources: `src/redact.rs` prints them.
const SECRET: [&str; 5] = ["Certificate", "Credential", "Delta", "Snapshot", "StoreConnection"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    let descriptors = protox::compile([PROTO], ["proto"])?;
    prost_build::Config::new()
        .skip_debug(SECRET.map(|message| format!(".{PACKAGE}.{message}")))
        .compile_fds(descriptors)?;
    Ok(())
}
