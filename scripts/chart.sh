#!/usr/bin/env bash
# Holds the charts to what Helm makes of them: lint, and renderings that parse, are the same twice, and refuse nonsense.
. "$(dirname "$0")/lib.sh"

HELM="${HELM:-$TOOLS/bin/helm}"
[ -x "$HELM" ] || HELM="$(command -v helm || true)"
[ -n "$HELM" ] || die "helm is missing: run 'make cluster' once, which builds it, or put helm into PATH"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

render() {
  "$HELM" template portcullis charts/portcullis --namespace portcullis-system "$@"
}

# refuses FRAGMENT ARGUMENTS...: rendering fails, and says so.
refuses() {
  local fragment="$1" said
  shift
  if said="$(render "$@" 2>&1)"; then die "helm template $* should fail"; fi
  grep -qF -- "$fragment" <<<"$said" || die "helm template $* does not say '$fragment': $said"
}

for chart in portcullis portcullis-crds; do
  "$HELM" lint --strict --quiet "charts/$chart" || die "helm lint charts/$chart fails"
done
render >"$work/one"
render >"$work/two"
cmp "$work/one" "$work/two" || die "two renderings differ: a template holds something that is generated"
if grep -q "^kind: Secret" "$work/one"; then die "the chart renders a Secret: the controller makes its own"; fi
for kind in Deployment Service ServiceAccount ClusterRole ClusterRoleBinding Role RoleBinding PodDisruptionBudget NetworkPolicy GatewayClass; do
  grep -q "^kind: $kind\$" "$work/one" || die "the chart renders no $kind"
done
render --set gatewayClass.create=false,networkPolicy.enabled=false,podDisruptionBudget.enabled=false >"$work/less"
for kind in GatewayClass NetworkPolicy PodDisruptionBudget; do
  if grep -q "^kind: $kind\$" "$work/less"; then die "$kind is rendered although it is switched off"; fi
done
render --set gatewayClass.parameters.replicas=3,imagePullSecrets[0].name=x,podLabels.a=b,nodeSelector.a=b,priorityClassName=p >"$work/more"
grep -q "^kind: GatewayParameters\$" "$work/more" || die "gatewayClass.parameters make no GatewayParameters"
refuses "/replicas" --set replicas=0
refuses "replicaCount" --set replicaCount=2
refuses "/image/pullPolicy" --set image.pullPolicy=Sometimes
say "charts: fine"
