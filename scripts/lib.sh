# Shared by every script here: where things live, what must be installed, and how progress is shown. Sourced, not run.

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/portcullis"
RUST_VERSION="$(sed -n 's/^channel *= *"\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml")"
CARGO_DENY_VERSION=0.20.2

# Build output never lands in the checkout. It is keyed by the compiler, so that a new one starts from a clean folder.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$CACHE/target/rust-$RUST_VERSION}"
TOOLS="$CACHE/tools"
mkdir -p "$CARGO_TARGET_DIR" "$TOOLS"
export PATH="$PATH:$HOME/.cargo/bin"
cd "$ROOT"

elapsed() { printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); }

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

die() {
  printf '\nportcullis: %s\n' "$*" >&2
  exit 1
}

# need_apt COMMAND PACKAGE: installs the Debian package that holds COMMAND, unless the command is there already.
need_apt() {
  local command="$1" package="$2"
  command -v "$command" >/dev/null 2>&1 && return 0
  [ -x "/usr/sbin/$command" ] && return 0
  command -v apt-get >/dev/null 2>&1 || die "'$command' is missing and this is not a Debian system: install the package that holds it, then run this again"
  [ "$(id -u)" = 0 ] || die "'$command' is missing: run 'sudo apt-get install $package', then run this again"
  say "installing $package (for $command)"
  apt_quiet install "$package" || {
    apt_quiet update && apt_quiet install "$package"
  } || die "could not install '$package': check that apt-get reaches a Debian mirror, then run this again"
}

apt_quiet() {
  local verb="$1"
  shift
  # A package that ships a service must not start it: the benches run their own instance on loopback.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get "$verb" -qq -y --no-install-recommends "$@" >/dev/null
}

# The compiler that rust-toolchain.toml pins; a C compiler and cmake for aws-lc and zlib-ng, a C++ compiler for the fuzzer's runtime.
need_rust() {
  need_apt cc gcc
  need_apt c++ g++
  need_apt make make
  need_apt cmake cmake
  command -v rustup >/dev/null 2>&1 || die "Rust is missing: install rustup (https://rustup.rs), then run this again"
  # rustup installs the pinned toolchain on first use; asking for the version makes a failure show here, by its own name.
  rustc --version >/dev/null || die "rustup could not install Rust $RUST_VERSION with clippy and rustfmt: run 'rustup toolchain install $RUST_VERSION -c clippy -c rustfmt'"
  local found
  found="$(rustc --version | cut -d' ' -f2)"
  [ "$found" = "$RUST_VERSION" ] || die "rust-toolchain.toml asks for Rust $RUST_VERSION but 'rustc' is $found: unset RUSTUP_TOOLCHAIN, or put rustup's bin folder first in PATH"
}

# build_dev BINARY: with the features of the whole workspace, so that every verb here shares one build of the dependencies.
build_dev() {
  cargo build --locked --workspace --bin "$1"
}

MACHINE="$(uname -m)-unknown-linux-gnu"

# build_static PROFILE BINARY...: what ships, and what the benches measure. One list of packages for every caller: the features of the
# dependencies are then the same, and none is built twice. --target keeps the static C library away from build scripts and macros, which
# must stay dynamic.
build_static() {
  local profile="$1"
  shift
  RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile "$profile" --target "$MACHINE" \
    -p portcullis-controller -p portcullis-dataplane -p portcullis-benches "${@/#/--bin=}"
}

# Everything that a run of the tests and of the cluster needs of what ships, and what measures it, in one build: three programs are linked
# at once, each by one thread.
build_release() {
  build_static release bench portcullis-dataplane portcullis-controller
}

# static_dir PROFILE: where build_static leaves binaries.
static_dir() { echo "$CARGO_TARGET_DIR/$MACHINE/$1"; }

# valgrind counts instructions; nginx is the common upstream and a peer.
need_bench_tools() {
  need_apt valgrind valgrind
  need_apt nginx nginx-light
}

# What tests of shared rate limits count in: a server of its own for each, on loopback; redis-cli comes with it.
need_redis() {
  need_apt redis-server redis-server
  need_apt redis-cli redis-tools
}

# cargo-deny, built once per version into the cache. An unoptimised build is quick to compile and quick enough to run.
need_cargo_deny() {
  local home="$TOOLS/cargo-deny-$CARGO_DENY_VERSION"
  if [ ! -x "$home/bin/cargo-deny" ]; then
    say "building cargo-deny $CARGO_DENY_VERSION (once, a few minutes)"
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=false \
      CARGO_TARGET_DIR="$CACHE/build/cargo-deny" cargo install --locked --quiet --root "$home" "cargo-deny@$CARGO_DENY_VERSION" \
      || die "could not build cargo-deny: check that cargo reaches its registry, then run this again"
    rm -rf "$CACHE/build/cargo-deny"
  fi
  export PATH="$home/bin:$PATH"
}

# ahead NAME COMMAND...: begins builds that later steps need, with the processor time that nothing else wants (links, tests that wait). Those
# steps are what they would be without it: they find their work done, wait for its lock, or do it, and say what is wrong.
ahead() {
  local name="$1" idle=(nice -n 19)
  shift
  ! chrt --idle 0 true 2>/dev/null || idle=(chrt --idle 0)
  # A process group of its own, so that all of it can be ended; no setsid, for autogroups get equal shares whatever their priority.
  set -m
  "${idle[@]}" "$@" >"$CACHE/ahead-$name.log" 2>&1 </dev/null &
  set +m
  AHEAD+=("$!")
}

# Ends what `ahead` began and has not finished.
end_ahead() {
  local group
  for group in "${AHEAD[@]}"; do kill -- "-$group" 2>/dev/null || true; done
}
AHEAD=()

# Steps: each is announced, timed and remembered; `summary` prints them all, whatever happened.
STEP_LINES=()
STEPS_PASSED=0
STEPS_FAILED=0
STEPS_START=$SECONDS

# step NAME COMMAND...: runs the command; a failure ends the script (through the summary) unless KEEP_GOING=1.
step() {
  local name="$1" start=$SECONDS status=0
  shift
  say "$name  (at $(elapsed $((SECONDS - STEPS_START))))"
  ("$@") || status=$?
  local took
  took="$(elapsed $((SECONDS - start)))"
  if [ "$status" = 0 ]; then
    STEPS_PASSED=$((STEPS_PASSED + 1))
    STEP_LINES+=("$(printf '  pass  %8s  %s' "$took" "$name")")
    say "$name: done in $took"
  else
    STEPS_FAILED=$((STEPS_FAILED + 1))
    STEP_LINES+=("$(printf '  FAIL  %8s  %s' "$took" "$name")")
    say "$name: FAILED after $took"
    [ "${KEEP_GOING:-0}" = 1 ] || exit 1
  fi
}

summary() {
  local line
  printf '\n'
  for line in "${STEP_LINES[@]}"; do printf '%s\n' "$line"; done
  printf '  total %8s\n\n' "$(elapsed $((SECONDS - STEPS_START)))"
  printf 'steps: %d passed, %d failed\n' "$STEPS_PASSED" "$STEPS_FAILED"
}
