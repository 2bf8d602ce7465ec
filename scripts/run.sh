#!/usr/bin/env bash
# Serves docs/examples/quickstart with two example backends in the same process; CONFIG=DIR serves another folder instead. Ctrl-C stops it.
. "$(dirname "$0")/lib.sh"

need_rust
say "building portcullis (some minutes the first time)"
start=$SECONDS
build_dev portcullis
say "built in $(elapsed $((SECONDS - start)))"
portcullis="$CARGO_TARGET_DIR/debug/portcullis"
if [ -n "${CONFIG:-}" ]; then
  exec "$portcullis" run --config "$CONFIG" "$@"
fi
exec "$portcullis" quickstart "$@"
