#!/usr/bin/env bash
# Everything that needs the real cluster: images, Helm install, scenarios, conformance; and everything down again. On failure the logs of all
# pods and components stay in the cache. KEEP=1 leaves the cluster running. CONFORMANCE_NEXT=0 leaves out the second cluster with the newest
# release of the Gateway API. `e2e.sh scenarios [-test.run …]` runs the scenarios alone against the cluster of `make cluster`.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/cluster-lib.sh"

scenarios() {
  (cd e2e && CGO_ENABLED=0 go test -c -trimpath -o "$BIN/scenarios.test" ./scenarios) || return
  "$BIN/cluster" enter env "CHARTS=$ROOT/charts" "DOCS=$ROOT/docs" "$BIN/scenarios.test" -test.v -test.timeout 30m "$@"
}

unit_tests() { (cd e2e && test -z "$(gofmt -l . | tee /dev/stderr)" && go vet ./... && go test ./cluster ./load ./report ./cmd/...); }

helm_test() { helm test portcullis --namespace "$SYSTEM" --timeout 60s; }

# The newest release needs an API server of its own: it refuses CRDs of another. The same images and charts go into it.
NEXT_SUITE=1.7.0
next_release() {
  "$BIN/cluster" down || return
  cluster_up "$NEXT_SUITE" || return
  install_portcullis || return
  INSTALLED=1 SUITE="$NEXT_SUITE" scripts/conformance.sh
}

if [ "${1:-}" = scenarios ]; then
  shift
  need_cluster_tools
  need_redis
  scenarios "$@"
  exit
fi

finish() {
  local status=$? out
  set +e # whatever fails in here, the summary is printed
  out="$CACHE/e2e/$(date +%Y%m%d-%H%M%S)"
  if [ "$STEPS_FAILED" != 0 ] && [ -d "$CLUSTER_HOME" ]; then
    say "collecting logs"
    collect_logs "$out"
    cp -r "$CACHE/conformance" "$out/" 2>/dev/null || true
    find "$CACHE/e2e" -mindepth 1 -maxdepth 1 -type d | sort -r | tail -n +6 | xargs -r rm -rf
    say "logs of all pods and components are in $out"
  fi
  [ "${KEEP:-0}" = 1 ] || [ ! -x "$BIN/cluster" ] || KEEP_GOING=1 step "cluster down" "$BIN/cluster" down
  summary
  [ "$STEPS_FAILED" = 0 ] || status=1
  exit "$status"
}
trap finish EXIT

step "cluster tools" need_cluster_tools
step "store of rate limits" need_redis
step "format, vet and tests of e2e" unit_tests
step "charts" scripts/chart.sh
step "images" env RELEASE="${RELEASE:-1}" scripts/images.sh
step "cluster" cluster_up
step "Helm install" install_portcullis
step "Helm test" helm_test
step "scenarios" scenarios
step "conformance $DEFAULT_SUITE" env INSTALLED=1 SUITE="$DEFAULT_SUITE" scripts/conformance.sh
[ "${CONFORMANCE_NEXT:-1}" != 1 ] || step "conformance $NEXT_SUITE" next_release
