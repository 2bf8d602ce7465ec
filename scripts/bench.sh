#!/usr/bin/env bash
# bench.sh [quick|gate]: `quick` prints and keeps the whole table, beside the peers; `gate` measures our own instructions only and
# fails when one is more than 2 % above benches/baseline.json. UPDATE=1 renews that file.
. "$(dirname "$0")/lib.sh"

mode="${1:-quick}"
case "$mode" in
quick | gate) ;;
*) die "unknown bench '$mode': use ONLY=quick (the default) or ONLY=gate" ;;
esac

need_rust
need_bench_tools
start=$SECONDS
say "building the release binaries (fat LTO: minutes when cold)"
binaries=(bench portcullis-dataplane)
[ "$mode" = gate ] || binaries+=(peer_pingora peer_hyper)
build_static release "${binaries[@]}"
say "built in $(elapsed $((SECONDS - start)))"

arguments=("$mode" --bin-dir "$(static_dir release)" --out "$CACHE/bench" --baseline benches/baseline.json)
[ -z "${UPDATE:-}" ] || arguments+=(--update-baseline)
"$(static_dir release)/bench" "${arguments[@]}"
