#!/usr/bin/env bash
# The upstream conformance suite, unmodified, against the cluster of `make cluster` (started if need be). SUITE is its release, RUN the short
# name of one test, PROFILES a comma-separated list.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/cluster-lib.sh"

suite="${SUITE:-1.6.3}"
suite="${suite#v}"
[ -d "e2e/conformance/v$suite" ] || die "there is no suite '$suite' here: SUITE is one of $(ls e2e/conformance | tr '\n' ' ')"
need_cluster_tools
e2e/build-tools.sh "suite-$suite" >/dev/null
if [ "${INSTALLED:-0}" != 1 ]; then
  scripts/images.sh >/dev/null
  cluster_up "$suite" "${CHANNEL:-standard}"
  install_portcullis
fi
# The suite takes the features to test from the class's status.
kubectl wait --for=condition=Accepted gatewayclass/portcullis --timeout 60s >/dev/null \
  || die "the GatewayClass is not accepted: see '$BIN/cluster kubectl describe gatewayclass portcullis'"
exec nice -n 5 "$BIN/conformance" -suite "$suite" -tools "$TOOLS/suite-$suite" -out "$CACHE/conformance/$suite" -run "${RUN:-}" \
  -profiles "${PROFILES:-GATEWAY-HTTP}" -version "v$(chart_version)"
