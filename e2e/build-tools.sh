#!/usr/bin/env bash
# Builds every program of the cluster from the Go module proxy into the cache, once per set of module versions.
# Usage: build-tools.sh [set ...]   (default: what the cluster needs)   Prints the folder that holds the programs on its last line.
# A suite's programs have a folder of their own beside it: suite-1.6.3/{conformance.test,echo-basic}.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/portcullis/tools
kubernetes=v1.37.2
export GOFLAGS=-mod=readonly CGO_ENABLED=0

# key SET MODULE PACKAGE...: what the programs are made of. Packages of our own change without a change of go.mod.
key() {
  local set=$1 module=$2
  shift 2
  {
    cat "$module/go.mod" "$module/go.sum"
    echo "$tags $ldflags $*"
    for package in "$@"; do case $package in *.test) cat "$module/${package%/*}"/*.go ;; ./*) cat "$module/$package"/*.go ;; esac; done
  } | sha256sum | cut -c1-16
}

# build SET MODULE PACKAGE...: into a folder named after its key; a package that ends in .test is a test binary.
build() {
  local set=$1 module=$2
  shift 2
  out=$cache/$set-$(key "$set" "$module" "$@")
  [ ! -e "$out/.complete" ] || return 0
  mkdir -p "$out"
  local package name began verb
  for package in "$@"; do
    name=${package##*/} began=$SECONDS verb=(build)
    case $package in *.test) verb=(test -c) package=${package%/*} ;; esac
    (cd "$module" && nice -n 5 go "${verb[@]}" -p 2 -trimpath $tags -ldflags="-s -w $ldflags" -o "$out/$name" "$package")
    echo "  built $name in $((SECONDS - began)) s" >&2
  done
  touch "$out/.complete"
  find "$cache" -maxdepth 1 -name "$set-????????????????" ! -path "$out" -exec rm -rf {} + # an older key's
}

link() { for program in "$out"/*; do ln -sfn "$program" "$cache/bin/$(basename "$program")"; done; }

mkdir -p "$cache/bin"
sets=${*:-kubernetes containerd coredns helm own}
for set in $sets; do
  ldflags= tags=
  # Of two runs the second waits for what the first builds.
  exec {lock}>"$cache/.$set.lock"
  flock "$lock"
  case $set in
    kubernetes)
      version=k8s.io/component-base/version
      ldflags="-X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=37"
      build $set "$here/tools/kubernetes" ./etcd k8s.io/kubernetes/cmd/{kubectl,kube-scheduler,kube-proxy,kubelet,kube-controller-manager,kube-apiserver}
      link
      ;;
    containerd)
      tags="-tags=no_btrfs,no_devmapper,no_zfs"
      build $set "$here/tools/containerd" github.com/containerd/containerd/v2/cmd/{ctr,containerd-shim-runc-v2,containerd}
      link
      ;;
    coredns) build $set "$here/tools/coredns" github.com/coredns/coredns && link ;;
    helm) build $set "$here/tools/helm" helm.sh/helm/v4/cmd/helm && link ;;
    own) build $set "$here" ./cmd/pause ./cmd/backend && link ;;
    suite-*)
      version=${set#suite-}
      case $version in
        1.6.3) echo=sigs.k8s.io/gateway-api/conformance/echo-basic ;;
        *) echo=sigs.k8s.io/gateway-api-conformance-images/echo-basic ;;
      esac
      # A suite names the Go that it needs; the module proxy has it.
      GOTOOLCHAIN=auto build $set "$here/conformance/v$version" ./conformance.test $echo
      ln -sfn "$out" "$cache/$set"
      ;;
    *) echo "build-tools.sh: unknown set '$set'; one of kubernetes containerd coredns helm own suite-<release>" >&2; exit 2 ;;
  esac
  exec {lock}>&-
done
echo "$cache/bin"
