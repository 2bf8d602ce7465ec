#!/usr/bin/env bash
# Runs every fuzz target; FUZZ_SECONDS sets the time for each.
. "$(dirname "$0")/lib.sh"

need_rust
exec tests/fuzz/run.sh "$@"
