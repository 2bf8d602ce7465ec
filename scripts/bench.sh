#!/usr/bin/env bash
# bench.sh [quick|gate|all|b1,b7,...]
#   quick  prints and keeps the table of instructions, bytes and memory, beside the peers
#   gate   measures our own instructions only and fails when one is more than 2 % above benches/baseline.json
#   all    the whole suite beside live peers, for a release; or some benches of it by their names. The report is suite.md.
# UPDATE=1 renews the baseline (quick, gate). ROUNDS, PROBES and CHURN_MINUTES change how much of the suite is done.
. "$(dirname "$0")/lib.sh"

mode="${1:-all}"
OUT="$CACHE/bench"

instructions() {
  need_bench_tools
  local start=$SECONDS binaries=(bench portcullis-dataplane) arguments
  say "building the release binaries (fat LTO: minutes when cold)"
  if [ "$mode" != gate ]; then
    binaries+=(peer_pingora peer_hyper)
  fi
  build_static release "${binaries[@]}"
  say "built in $(elapsed $((SECONDS - start)))"
  arguments=("$mode" --bin-dir "$(static_dir release)" --out "$OUT" --baseline benches/baseline.json)
  [ -z "${UPDATE:-}" ] || arguments+=(--update-baseline)
  "$(static_dir release)/bench" "${arguments[@]}"
}

# Where it may, the suite runs in namespaces of its own: no port of this machine is taken, the API server accepts the endpoints that are made up
# (on loopback it would not), and whatever happens nothing outlives the run.
OWN_NETWORK='ip link set lo up && ip addr add 10.255.0.1/32 dev lo && exec "$@" --own-network'

suite() {
  need_bench_tools
  need_redis
  local start=$SECONDS peers arguments pair run=() limit gateway_api
  peers="$(scripts/peers.sh)"
  # The API server of B6, B8 and B12; without it they say that they did not run.
  if command -v go >/dev/null 2>&1; then
    e2e/build-tools.sh kubernetes >/dev/null || say "etcd and kube-apiserver cannot be built: B6, B8 and B12 will not run"
    # What they install comes from the module proxy, which the namespaces below do not reach.
    gateway_api="sigs.k8s.io/gateway-api@$(sed -n 's/.*V1_6_3 => "\(.*\)",.*/\1/p' tests/apiserver/src/crds.rs)"
    (cd / && GOTOOLCHAIN=local GOFLAGS=-mod=mod go mod download "$gateway_api") \
      || say "$gateway_api cannot be fetched: B6, B8 and B12 will not run"
  fi
  say "building the release binaries (fat LTO: minutes when cold)"
  build_static release bench portcullis-dataplane portcullis-controller peer_pingora peer_hyper peer_relay
  say "built in $(elapsed $((SECONDS - start)))"
  arguments=(suite --bin-dir "$(static_dir release)" --out "$OUT")
  for pair in $peers; do arguments+=("--${pair%%=*}" "${pair#*=}"); done
  [ "$mode" = all ] || arguments+=(--only "$mode")
  [ -z "${ROUNDS:-}" ] || arguments+=(--rounds "$ROUNDS")
  [ -z "${PROBES:-}" ] || arguments+=(--probes "$PROBES")
  [ -z "${CHURN_MINUTES:-}" ] || arguments+=(--churn-minutes "$CHURN_MINUTES")
  # 3,000 idle connections on both sides of a proxy; 1,000 streams on both sides of a controller.
  limit="$(ulimit -Hn)"
  ulimit -n "$limit" 2>/dev/null || true
  if unshare --net --pid --fork --mount-proc true 2>/dev/null; then
    run=(unshare --net --pid --fork --mount-proc --kill-child sh -c "$OWN_NETWORK" sh)
  else
    say "this account cannot make namespaces: B6, B8 and B12 will not run, and ports are shared with the machine"
  fi
  "${run[@]}" "$(static_dir release)/bench" "${arguments[@]}"
}

need_rust
case "$mode" in
quick | gate) instructions ;;
all | b[0-9]*) suite ;;
*) die "unknown bench '$mode': use ONLY=quick, ONLY=gate, a name such as ONLY=b7 or ONLY=b1,b2, or nothing for all" ;;
esac
