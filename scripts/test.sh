#!/usr/bin/env bash
# Everything CI runs, cheapest first. KEEP_GOING=1 runs the later steps even after a failure.
# Three builds of the dependencies in all: dev (clippy shares its build scripts and macros), release (benches and images), fuzz.
. "$(dirname "$0")/lib.sh"

finish() {
  local status=$?
  end_ahead
  summary
  [ "$STEPS_FAILED" = 0 ] || status=1
  exit "$status"
}
trap finish EXIT

# The fuzz targets have a lock file of their own; what it lacks should show before half an hour of other work.
lock_files() {
  local folder
  for folder in . tests/fuzz; do
    (cd "$folder" && cargo metadata --locked --format-version 1 >/dev/null) \
      || die "$folder/Cargo.lock does not fit its Cargo.toml: run 'cargo metadata' in $folder and commit the lock file"
  done
}

generated_files() {
  build_dev crds || return
  "$CARGO_TARGET_DIR/debug/crds" --check || die "generated files differ from their source: run 'make crds' and commit the result"
  scripts/support.sh check || die "README.md is not what the kept reports make of it: run 'make support' and commit the result"
}

# etcd and kube-apiserver, which some tests run on loopback; the cluster of e2e/ uses the same.
api_server() {
  command -v go >/dev/null 2>&1 || die "Go is missing: install Go 1.26 or newer (https://go.dev/dl), then run this again"
  e2e/build-tools.sh kubernetes >/dev/null || die "could not build etcd and kube-apiserver: the compiler's words are above"
}

# Nothing of these is needed soon: the machine builds them where the steps below leave it time.
builds_ahead() {
  ahead release bash -c '. scripts/lib.sh && build_release'
  ! command -v go >/dev/null 2>&1 || ahead cluster e2e/build-tools.sh kubernetes containerd coredns helm own suite-1.6.3 suite-1.7.0
}

# Where the kernel or the account does not allow network namespaces there can be no cluster. That is said loudly; everything else fails.
real_cluster() {
  if ! unshare --net --mount true 2>/dev/null; then
    echo "#########################################################"
    echo "#  real cluster: NOT RUN, this account cannot make      #"
    echo "#  network namespaces; run this as root                 #"
    echo "#########################################################"
    return 0
  fi
  scripts/e2e.sh
}

step "toolchain" need_rust
step "formatting" cargo fmt --all --check
step "lock files" lock_files
builds_ahead
step "dependencies (licences, bans, sources, advisories)" scripts/deny.sh
step "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
step "programs of Kubernetes" api_server
step "OpenID provider" scripts/openid.sh
step "store of rate limits" need_redis
step "tests" cargo test --locked --workspace --all-targets --no-fail-fast
step "documentation tests" cargo test --locked --workspace --doc
step "generated files" generated_files
step "instructions per request (gate)" scripts/bench.sh gate
step "fuzz (a few seconds per target)" tests/fuzz/run.sh
step "real cluster" real_cluster
