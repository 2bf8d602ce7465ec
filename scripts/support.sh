#!/usr/bin/env bash
# What README.md says is supported, from the conformance reports that are kept and from the features that the GatewayClass publishes.
# support.sh write | check | keep REPORT
. "$(dirname "$0")/lib.sh"

command -v go >/dev/null 2>&1 || die "Go is missing: install Go 1.26 or newer (https://go.dev/dl), then run this again"
# A report may be named from where one stands; the program is run from its module.
[ "$#" != 2 ] || set -- "$1" "$(realpath "$2")"
cd e2e && CGO_ENABLED=0 go run ./cmd/support -root "$ROOT" "$@"
