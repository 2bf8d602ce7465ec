#!/usr/bin/env bash
# Builds every program of the cluster from the Go module proxy into the cache, once per set of module versions.
# Usage: build-tools.sh [set ...]   (default: all sets)   Prints the folder that holds the programs on its last line.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/portcullis/tools
kubernetes=v1.37.2
export GOFLAGS=-mod=readonly CGO_ENABLED=0

# set, folder of its module, packages
build() {
  local set=$1 module=$2
  shift 2
  local key out
  key=$(cat "$module/go.mod" "$module/go.sum" "$0" | sha256sum | cut -c1-16)
  out=$cache/$set-$key
  if [ ! -e "$out/.complete" ]; then
    mkdir -p "$out"
    for package in "$@"; do
      local name=${package##*/} began=$SECONDS

      (cd "$module" && go build -trimpath $tags -ldflags="-s -w $ldflags" -o "$out/$name" "$package")
      echo "  built $name in $((SECONDS - began)) s" >&2
    done
    touch "$out/.complete"
  fi
  mkdir -p "$cache/bin"
  for program in "$out"/*; do ln -sfn "$program" "$cache/bin/$(basename "$program")"; done
}

sets=${*:-kubernetes containerd coredns helm echo own}
for set in $sets; do
  ldflags= tags=
  case $set in
    kubernetes)
      version=k8s.io/component-base/version
      ldflags="-X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=37"
      build $set "$here/tools/kubernetes" ./etcd k8s.io/kubernetes/cmd/{kubectl,kube-scheduler,kube-proxy,kubelet,kube-controller-manager,kube-apiserver}
      ;;
    containerd)
      tags="-tags=no_btrfs,no_devmapper,no_zfs"
      build $set "$here/tools/containerd" github.com/containerd/containerd/v2/cmd/{ctr,containerd-shim-runc-v2,containerd}
      ;;
    coredns) build $set "$here/tools/coredns" github.com/coredns/coredns ;;
    helm) build $set "$here/tools/helm" helm.sh/helm/v4/cmd/helm ;;
    echo) build $set "$here/conformance/v1.6.3" sigs.k8s.io/gateway-api/conformance/echo-basic ;;
    own) build $set "$here" ./cmd/pause ;;
    *) echo "build-tools.sh: unknown set '$set'; one of kubernetes containerd coredns helm echo own" >&2; exit 2 ;;
  esac
done
echo "$cache/bin"
