#!/bin/sh
# Writes the Gateway API schemas of this folder anew. Needs Go (for its module proxy) and Python with PyYAML.
#   sh cli/schemas/update.sh [VERSION]
set -eu
version=${1:-v1.6.3}
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
printf 'module schemas\n\ngo 1.24\n' > go.mod
GOFLAGS=-mod=mod go mod download "sigs.k8s.io/gateway-api@$version"
crds="$(go env GOMODCACHE)/sigs.k8s.io/gateway-api@$version/config/crd/experimental"
python3 - "$crds" "$here" <<'PY'
import json, sys
import yaml

source, target = sys.argv[1:]

def strip(node, properties=False):
    if isinstance(node, dict):
        return {k: strip(v, k == "properties") for k, v in node.items() if properties or k != "description"}
    return [strip(item) for item in node] if isinstance(node, list) else node

for plural in [
    "backendtlspolicies", "gatewayclasses", "gateways", "grpcroutes", "httproutes", "listenersets", "referencegrants",
    "tcproutes", "tlsroutes", "udproutes",
]:
    with open(f"{source}/gateway.networking.k8s.io_{plural}.yaml") as file:
        crd = yaml.safe_load(file)
    [version] = [v for v in crd["spec"]["versions"] if v["name"] == "v1"]
    schema = strip(version["schema"]["openAPIV3Schema"])
    schema["properties"].pop("status", None)
    with open(f"{target}/{plural}.json", "w") as file:
        json.dump(schema, file, sort_keys=True, indent=1)
        file.write("\n")
PY
