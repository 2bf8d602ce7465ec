//! Compiles `proto/check.proto` with protox (no `protoc` to install) and prost-build.

use std::error::Error;

const PROTO: &str = "proto/check.proto";
/// Messages that carry what clients prove identity with: `src/grpc.rs` prints none of them.
const SECRET: [&str; 4] = ["CheckRequest", "AttributeContext", "Request", "HttpRequest"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    let descriptors = protox::compile([PROTO], ["proto"])?;
    prost_build::Config::new()
        .skip_debug(SECRET.map(|message| format!(".portcullis.external.{message}")))
        .compile_fds(descriptors)?;
    Ok(())
}
