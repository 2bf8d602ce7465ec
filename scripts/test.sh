#!/usr/bin/env bash
# Everything CI runs, cheapest first. KEEP_GOING=1 runs the later steps even after a failure.
# Three builds of the dependencies in all: dev (clippy shares its build scripts and macros), release (benches), fuzz.
. "$(dirname "$0")/lib.sh"

finish() {
  local status=$?
  summary
  [ "$STEPS_FAILED" = 0 ] || status=1
  exit "$status"
}
trap finish EXIT

generated_files() {
  build_dev crds || return
  "$CARGO_TARGET_DIR/debug/crds" --check || die "generated files differ from their source: run 'make crds' and commit the result"
}

step "toolchain" need_rust
step "formatting" cargo fmt --all --check
step "dependencies (licences, bans, sources, advisories)" scripts/deny.sh
step "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
step "tests" cargo test --locked --workspace --all-targets --no-fail-fast
step "documentation tests" cargo test --locked --workspace --doc
step "generated files" generated_files
step "fuzz (a few seconds per target)" tests/fuzz/run.sh
step "instructions per request (gate)" scripts/bench.sh gate
