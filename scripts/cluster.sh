#!/usr/bin/env bash
# A real Kubernetes cluster with Portcullis installed by Helm and a sample route, left running; `down` removes all of it. SUITE is the release
# of the Gateway API that it has, CHANNEL that of its CRDs.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/cluster-lib.sh"

up() {
  need_cluster_tools
  scripts/images.sh >/dev/null
  say "starting the cluster"
  cluster_up "${SUITE:-}"
  say "installing Portcullis"
  install_portcullis
  say "applying e2e/sample.yaml"
  kubectl apply --filename "$ROOT/e2e/sample.yaml" >/dev/null
  kubectl wait --namespace shop --for condition=Available --timeout 60s deployment --all >/dev/null
  kubectl wait --namespace shop --for condition=Programmed --timeout 90s gateway/front >/dev/null \
    || die "the sample Gateway is not Programmed: see '$BIN/cluster kubectl describe gateway -n shop front'"
  local address
  address="$(kubectl get gateway --namespace shop front --output 'jsonpath={.status.addresses[0].value}')"
  cat <<HELP

The cluster runs. Everything in it is reachable from inside its network namespace only:

  enter it          nsenter --net=/run/netns/portcullis-e2e
  then              export KUBECONFIG=$CLUSTER_HOME/pki/admin.kubeconfig PATH=$BIN:\$PATH

  the shop          curl -H 'Host: shop.example' http://$address/
  one version       curl -H 'Host: shop.example' -H 'X-Version: green' http://$address/
  what it became    kubectl describe httproute -n shop shop
  change it         kubectl edit httproute -n shop shop
  see the pods      kubectl get pods -A

Or from outside: $BIN/cluster kubectl get gateways -A, $BIN/cluster enter curl …
\`make conformance\` runs the upstream suite here; \`make cluster-down\` removes everything.
HELP
}

case "${1:-}" in
  up) up ;;
  down)
    [ -x "$BIN/cluster" ] || need_cluster_tools
    "$BIN/cluster" down
    ;;
  *) die "usage: scripts/cluster.sh up | down" ;;
esac
