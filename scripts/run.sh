#!/usr/bin/env bash
# Serves docs/examples/quickstart with two example backends that `portcullis run --quickstart-backends` starts itself; Ctrl-C stops all of it.
. "$(dirname "$0")/lib.sh"

need_rust
say "building portcullis (some minutes the first time)"
start=$SECONDS
cargo build --locked -p portcullis-cli --bin portcullis
say "built in $(elapsed $((SECONDS - start)))"
exec "$CARGO_TARGET_DIR/debug/portcullis" run --config "${CONFIG:-docs/examples/quickstart}" "$@"
