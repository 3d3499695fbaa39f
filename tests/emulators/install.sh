#!/bin/sh
# Installs the emulators that Parley is tried against, from npm, into a cache outside of the project:
#   $PARLEY_EMULATORS, or ~/.cache/parley-emulators
# What is there already is left alone. Needs Node 20 or newer with npm.
set -eu

cache=${PARLEY_EMULATORS:-${XDG_CACHE_HOME:-$HOME/.cache}/parley-emulators}
command -v node >/dev/null && command -v npm >/dev/null || {
    echo "The emulators need Node 20 or newer with npm (Debian: apt-get install nodejs npm)." >&2
    exit 1
}

# install FOLDER PACKAGE VERSION
install() {
    manifest="$cache/$1/node_modules/$2/package.json"
    if [ -f "$manifest" ] && grep -q "\"version\": *\"$3\"" "$manifest"; then
        return
    fi
    echo "Installing $2 $3 ..." >&2
    mkdir -p "$cache/$1"
    [ -f "$cache/$1/package.json" ] || echo '{"private": true}' >"$cache/$1/package.json"
    (cd "$cache/$1" && npm install --no-audit --no-fund --loglevel=error --save-exact "$2@$3" >&2)
}

install n-localslack local-slack-linux-x64 0.1.8
install n-playground @microsoft/m365agentsplayground 0.2.28
install n-aimock @copilotkit/aimock 1.43.0
install n-schemas @microsoft/app-manifest 1.1.2
echo "$cache"
