#!/usr/bin/env bash
# The upstream conformance suite, unmodified, in the cluster of `make cluster`: started if need be, and taken down and up again if it has CRDs
# of another release or channel.
#   SUITE=1.6.3        release of the suite, and of the CRDs; CHANNEL is that of the CRDs
#   PROFILES=...       comma-separated; all five unless said
#   RUN=A,B            short names of tests: one is run even if its feature is not published, several only if theirs are
#   TIMES=3            that often, and a test that failed once has failed
#   KEEP_REPORT=1      takes the report of a whole run into conformance/reports and README.md, if it proves full conformance
#   TIMEOUT=75m        for one run
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/cluster-lib.sh"

suite="${SUITE:-$DEFAULT_SUITE}"
suite="${suite#v}"
[ -d "e2e/conformance/v$suite" ] || die "there is no suite '$suite' here: SUITE is one of $(ls e2e/conformance | tr '\n' ' ')"
[ "${KEEP_REPORT:-0}" != 1 ] || [ -z "${RUN:-}${PROFILES:-}" ] || die "KEEP_REPORT=1 takes the report of a whole run: leave RUN and PROFILES away"
need_cluster_tools
e2e/build-tools.sh "suite-$suite" >/dev/null
if [ "${INSTALLED:-0}" != 1 ]; then
  scripts/images.sh >/dev/null
  cluster_up "$suite"
  install_portcullis
fi
# The suite takes the features to test from the class's status.
kubectl wait --for=condition=Accepted gatewayclass/portcullis --timeout 60s >/dev/null \
  || die "the GatewayClass is not accepted: see '$BIN/cluster kubectl describe gatewayclass portcullis'"

out="$CACHE/conformance/$suite"
arguments=(-suite "$suite" -tools "$TOOLS/suite-$suite" -out "$out" -version "v$(chart_version)" -times "${TIMES:-1}" -run "${RUN:-}")
[ -z "${PROFILES:-}" ] || arguments+=(-profiles "$PROFILES")
[ -z "${TIMEOUT:-}" ] || arguments+=(-timeout "$TIMEOUT")
nice -n 5 "$BIN/conformance" "${arguments[@]}"
[ "${KEEP_REPORT:-0}" != 1 ] || scripts/support.sh keep "$out/report.yaml"
