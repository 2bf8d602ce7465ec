# Shared by the scripts that use the cluster. Sourced after lib.sh, not run.

BIN="$TOOLS/bin"
CLUSTER_HOME=/var/lib/portcullis-e2e
SYSTEM=portcullis-system
OF_US="app.kubernetes.io/managed-by=portcullis"

need_cluster_tools() {
  [ "$(id -u)" = 0 ] || die "the cluster needs root for its network namespace and mounts: run this as root"
  command -v go >/dev/null 2>&1 || die "Go is missing: install Go 1.26 or newer (https://go.dev/dl), then run this again"
  need_apt runc runc
  need_apt ip iproute2
  need_apt nft nftables
  need_apt nsenter util-linux
  need_apt sysctl procps
  [ -x /usr/lib/cni/bridge ] || apt_quiet install containernetworking-plugins \
    || { apt_quiet update && apt_quiet install containernetworking-plugins; } \
    || die "could not install containernetworking-plugins: check that apt-get reaches a Debian mirror, then run this again"
  # A step runs its function where `set -e` does not hold: every command that matters says what happens when it fails.
  e2e/build-tools.sh >/dev/null || die "could not build the cluster's programs: the compiler's words are above"
  (cd e2e && CGO_ENABLED=0 go build -trimpath -o "$BIN/cluster" ./cmd/cluster && CGO_ENABLED=0 go build -trimpath -o "$BIN/conformance" ./cmd/conformance) \
    || die "could not build e2e/cmd: the compiler's words are above"
}

kubectl() { "$BIN/cluster" kubectl "$@"; }
helm() { "$BIN/cluster" enter "$BIN/helm" "$@"; }

chart_version() { sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\} *$/\1/p' charts/portcullis/Chart.yaml; }

# The release of the Gateway API that a cluster has unless SUITE says another.
DEFAULT_SUITE=1.6.3

# channel_of SUITE: of the CRDs; CHANNEL overrides. The experimental ones hold all of the standard ones, and features beside: in 1.6 the
# `retry` of an HTTPRoute, from 1.7 on filters of listeners, routability of addresses and bundles of authorities.
channel_of() { echo "${CHANNEL:-experimental}"; }

# cluster_up [SUITE]: the cluster alone. One that runs with CRDs of another release or channel is taken down first, and that is said.
cluster_up() {
  local suite="${1:-$DEFAULT_SUITE}"
  "$BIN/cluster" up -gateway-api "v$suite" -channel "$(channel_of "$suite")"
}

# install_portcullis: the images of `make images` and both charts, as a platform team installs them. Pods that run an older image of the same
# version are replaced.
install_portcullis() {
  local images before
  images="$(readlink -f "$CACHE/images/current")" || die "there are no images: run 'make images', then run this again"
  before="$(cat "$CLUSTER_HOME/run/images" 2>/dev/null || true)"
  [ "$before" = "$images" ] || "$BIN/cluster" import "$images"/*.tar || die "could not import the images: is the cluster up ('make cluster')?"
  helm upgrade --install portcullis-crds charts/portcullis-crds --namespace "$SYSTEM" --create-namespace --wait --timeout 60s >/dev/null \
    || die "helm could not install the CRDs: its words are above"
  if ! helm upgrade --install portcullis charts/portcullis --namespace "$SYSTEM" --values e2e/values.yaml --wait --timeout 180s; then
    kubectl get pods --namespace "$SYSTEM" --output wide >&2
    kubectl logs --namespace "$SYSTEM" deployment/portcullis-controller --all-pods --tail 20 >&2 || true
    die "helm could not install Portcullis: the pods and the end of their logs are above"
  fi
  if [ -n "$before" ] && [ "$before" != "$images" ]; then
    kubectl rollout restart --namespace "$SYSTEM" deployment/portcullis-controller >/dev/null
    kubectl rollout status --namespace "$SYSTEM" deployment/portcullis-controller --timeout 120s
    kubectl get deployments --all-namespaces --selector "$OF_US,app.kubernetes.io/name=portcullis-dataplane" --output json \
      | kubectl rollout restart --filename - >/dev/null 2>&1 || true
  fi
  echo "$images" >"$CLUSTER_HOME/run/images"
}

# collect_logs DIR: what one needs to understand a failure after the cluster is gone.
collect_logs() {
  local out="$1" namespace pod
  mkdir -p "$out/pods"
  cp -r "$CLUSTER_HOME/logs" "$out/components" 2>/dev/null || true
  kubectl get events --all-namespaces --sort-by .lastTimestamp >"$out/events.txt" 2>&1 || true
  kubectl get pods,services,deployments --all-namespaces --output wide >"$out/workloads.txt" 2>&1 || true
  kubectl get gatewayclasses,gateways,listenersets,httproutes,grpcroutes,tlsroutes,tcproutes,udproutes,backendtlspolicies,referencegrants \
    --all-namespaces --output yaml >"$out/gateway-api.yaml" 2>&1 || true
  kubectl get pods --all-namespaces --no-headers --output custom-columns=:metadata.namespace,:metadata.name 2>/dev/null | while read -r namespace pod; do
    kubectl logs --namespace "$namespace" "$pod" --all-containers --timestamps </dev/null >"$out/pods/$namespace.$pod.log" 2>&1 || true
    kubectl logs --namespace "$namespace" "$pod" --all-containers --previous </dev/null >"$out/pods/$namespace.$pod.previous.log" 2>/dev/null \
      || rm -f "$out/pods/$namespace.$pod.previous.log"
  done
}
