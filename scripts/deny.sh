#!/usr/bin/env bash
# Licences, bans and sources are judged from the lock file alone. The advisory database comes from outside the registries:
# where it cannot be had, that is said loudly and is not a failure; a finding is.
. "$(dirname "$0")/lib.sh"

need_rust
need_cargo_deny
cargo deny --locked check --hide-inclusion-graph licenses bans sources

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if timeout 120 cargo deny --locked check --hide-inclusion-graph advisories >"$log" 2>&1; then
  echo "advisories: ok"
elif grep -q 'advisories FAILED' "$log" || grep -q '^error\[' "$log"; then
  cat "$log"
  die "an advisory concerns a dependency: upgrade it, or list it in deny.toml with the reason why it does not reach us"
else
  tail -n 5 "$log" >&2
  echo
  echo "#########################################################"
  echo "#  advisories: NOT CHECKED, database unreachable        #"
  echo "#########################################################"
fi
