#!/bin/sh
# Writes the Gateway API schemas of this folder anew. Needs Go (for its module proxy) and Python with PyYAML.
#   sh cli/schemas/update.sh [VERSION] [NEWER VERSION, of what it only adds to]
set -eu
version=${1:-v1.6.3}
newer=${2:-v1.7.0}
here=$(cd "$(dirname "$0")" && pwd)
# Releases from 1.7 on ask for a newer Go than some machines bring.
export GOTOOLCHAIN=auto
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
printf 'module schemas\n\ngo 1.24\n' > go.mod
GOFLAGS=-mod=mod go mod download "sigs.k8s.io/gateway-api@$version"
GOFLAGS=-mod=mod go mod download "sigs.k8s.io/gateway-api@$newer"
crds() { echo "$(go env GOMODCACHE)/sigs.k8s.io/gateway-api@$1/config/crd/experimental"; }
python3 - "$(crds "$version")" "$(crds "$newer")" "$here" <<'PY'
import json, sys
import yaml

source, newer, target = sys.argv[1:]

# Of labels, which nothing here selects by.
def is_evaluated(rule):
    return "format." not in rule["rule"]

def strip(node, properties=False):
    if isinstance(node, dict):
        if not properties and "x-kubernetes-validations" in node:
            rules = [rule for rule in node["x-kubernetes-validations"] if is_evaluated(rule)]
            node = {**node, "x-kubernetes-validations": rules}
        return {k: strip(v, k == "properties") for k, v in node.items() if properties or k != "description"}
    return [strip(item) for item in node] if isinstance(node, list) else node

def write(folder, group, plural, served):
    with open(f"{folder}/{group}_{plural}.yaml") as file:
        crd = yaml.safe_load(file)
    [version] = [v for v in crd["spec"]["versions"] if v["name"] == served]
    schema = strip(version["schema"]["openAPIV3Schema"])
    schema["properties"].pop("status", None)
    with open(f"{target}/{plural}.json", "w") as file:
        json.dump(schema, file, sort_keys=True, indent=1)
        file.write("\n")

for plural in [
    "backendtlspolicies", "gatewayclasses", "grpcroutes", "httproutes", "referencegrants", "tcproutes", "tlsroutes",
    "udproutes",
]:
    write(source, "gateway.networking.k8s.io", plural, "v1")
# Filters of listeners, and nothing taken away.
for plural in ["gateways", "listenersets"]:
    write(newer, "gateway.networking.k8s.io", plural, "v1")
write(newer, "gateway.networking.x-k8s.io", "xbackends", "v1alpha1")
PY
