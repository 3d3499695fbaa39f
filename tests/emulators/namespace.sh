#!/bin/sh
# Runs a command where the network is loopback and nothing else, so that no emulator can be reached from
# outside or reach out itself (two of them listen on every address, one sends telemetry).
#   namespace.sh COMMAND ARGS...
# Needs unshare (util-linux) and ip (iproute2); root, or a kernel that gives namespaces to everybody.
set -eu

if [ -n "${PARLEY_NAMESPACE:-}" ]; then
    exec "$@" # already inside
fi
for tool in unshare ip; do
    command -v "$tool" >/dev/null || { echo "Please install $tool (Debian: util-linux, iproute2)." >&2; exit 1; }
done

mapped=--map-root-user
[ "$(id -u)" = 0 ] && mapped=
export PARLEY_NAMESPACE=1
# shellcheck disable=SC2016,SC2086  # expanded inside; the flag may be absent
exec unshare --net $mapped sh -c 'ip link set lo up && exec "$@"' namespace "$@"
