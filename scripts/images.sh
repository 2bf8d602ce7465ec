#!/usr/bin/env bash
# Builds the container images of the controller and the data plane from the Dockerfile, without a base image or a container engine, and
# prints the folder that holds their archives on its last line. RELEASE=1 builds with the profile that ships. Nothing is built twice.
. "$(dirname "$0")/lib.sh"

need_rust
need_apt buildah buildah
[ "$(id -u)" = 0 ] || die "building images needs root: run this as root"

programs=(controller dataplane)
profile=image
[ "${RELEASE:-0}" != 1 ] || profile=release
version="$(sed -n '/^\[workspace.package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' Cargo.toml)"
if [ -f charts/portcullis/Chart.yaml ]; then
  version="$(sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\} *$/\1/p' charts/portcullis/Chart.yaml)"
fi

say "building static binaries (profile $profile)"
started=$SECONDS
build_static "$profile" "${programs[@]/#/portcullis-}"
say "built in $(elapsed $((SECONDS - started)))"

# The build context holds nothing but the binaries, so that neither the checkout nor its size matters.
context="$(mktemp -d)"
trap 'rm -rf "$context"' EXIT
for program in "${programs[@]}"; do
  install -D "$(static_dir "$profile")/portcullis-$program" "$context/prebuilt/$program/portcullis-$program"
  strip "$context/prebuilt/$program/portcullis-$program"
done
[ -e /etc/ssl/certs/ca-certificates.crt ] || apt_quiet install ca-certificates
install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$context/prebuilt/dataplane/etc/ssl/certs/ca-certificates.crt"

key="$({ cat Dockerfile && echo "$version" && cd "$context" && find prebuilt -type f -print0 | sort -z | xargs -0 sha256sum; } | sha256sum | cut -c1-16)"
out="$CACHE/images/$key"
if [ ! -e "$out/.complete" ]; then
  rm -rf "$out"
  mkdir -p "$out"
  storage=(--root "$context/storage" --runroot "$context/run" --storage-driver vfs)
  for program in "${programs[@]}"; do
    name="docker.io/portcullis/$program:$version"
    buildah "${storage[@]}" bud --quiet --isolation chroot --build-arg BINARIES=prebuilt --target "$program" --file Dockerfile --tag "$name" "$context" >/dev/null
    buildah "${storage[@]}" push --quiet "$name" "docker-archive:$out/$program.tar:$name" >/dev/null
    say "$name: $(du -h "$out/$program.tar" | cut -f1)"
  done
  touch "$out/.complete"
  # The newest three stay.
  find "$CACHE/images" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | tail -n +4 | cut -d' ' -f2- | xargs -r rm -rf
fi
ln -sfn "$out" "$CACHE/images/current"
echo "$out"
