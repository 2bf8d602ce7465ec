#!/usr/bin/env bash
# Builds every fuzz target and runs each for a few seconds: tests/fuzz/run.sh [SECONDS]
#
# Needs no nightly and no cargo-fuzz: the coverage flags are LLVM's own, and libfuzzer-sys builds the runtime with cc.
# A crash fails the run and leaves its input in the cache; what was learnt in earlier runs is kept there too.
set -euo pipefail

seconds="${1:-${FUZZ_SECONDS:-5}}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/portcullis/fuzz"
host="$(rustc -vV | sed -n 's/^host: //p')"
version="$(rustc -vV | sed -n 's/^release: //p')"
export CARGO_TARGET_DIR="$cache/target/rust-$version"

case "$seconds" in
  '' | *[!0-9]* | 0) echo "fuzz: '$seconds' is no number of seconds: give a whole number from 1" >&2; exit 2 ;;
esac
command -v c++ >/dev/null || { echo "fuzz: no C++ compiler: run 'apt-get install g++'" >&2; exit 2; }

# With --target the flags reach the targets and what they link, and no build script.
flags=(
  -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares
  --cfg fuzzing
)
targets=()
for file in "$here"/targets/*.rs; do targets+=("$(basename "$file" .rs)"); done

echo "fuzz: building ${targets[*]}"
(cd "$here" && RUSTFLAGS="${flags[*]}" cargo build --quiet --locked --profile fuzz --target "$host" --bins)

failed=0
for target in "${targets[@]}"; do
  corpus="$cache/corpus/$target" artifacts="$cache/artifacts/$target" log="$cache/$target.log"
  mkdir -p "$corpus" "$artifacts"
  binary="$CARGO_TARGET_DIR/$host/fuzz/$target"
  if "$binary" "$corpus" "$here/seeds/$target" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 \
    -max_len=4096 -artifact_prefix="$artifacts/" -print_final_stats=1 >"$log" 2>&1; then
    runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    echo "fuzz: $target: ${runs:-?} inputs in $seconds s, no crash"
  else
    failed=1
    reproducer="$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)"
    {
      echo "fuzz: $target FAILED"
      grep -m 1 -A 4 'panicked at\|ERROR: libFuzzer' "$log" || tail -n 5 "$log"
      echo "fuzz: input:   ${reproducer:-none was written; see $log}"
      echo "fuzz: again:   $binary ${reproducer:-}"
      echo "fuzz: the log: $log"
    } >&2
  fi
done
exit "$failed"
