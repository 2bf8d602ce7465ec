#!/usr/bin/env bash
# An OpenID provider that others made (npm's oidc-provider), which a test logs in at. Installed once per version into the cache.
. "$(dirname "$0")/lib.sh"

OIDC_PROVIDER_VERSION=9.8.6

need_apt node nodejs
need_apt npm npm
HOME_OF_IT="$TOOLS/oidc-provider-$OIDC_PROVIDER_VERSION"
if [ ! -e "$HOME_OF_IT/node_modules/oidc-provider/package.json" ]; then
  say "installing oidc-provider $OIDC_PROVIDER_VERSION"
  mkdir -p "$HOME_OF_IT"
  npm install --prefix "$HOME_OF_IT" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
    "oidc-provider@$OIDC_PROVIDER_VERSION" >/dev/null \
    || die "could not install oidc-provider: check that npm reaches its registry, then run this again"
fi
ln -sfn "$HOME_OF_IT" "$TOOLS/oidc-provider"
