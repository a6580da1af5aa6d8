#!/usr/bin/env bash
# Installs Debian packages, as root. Their services are not started. apt's
# output is shown only if it fails.
set -eu

policy=/usr/sbin/policy-rc.d
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ ! -e $policy ]; then
    trap 'rm -f "$log" $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
fi
echo "Installing $*"
{
    apt-get update &&
        DEBIAN_FRONTEND=noninteractive apt-get install --yes \
            --no-install-recommends "$@"
} >"$log" 2>&1 || {
    cat "$log" >&2
    echo "apt-get could not install $*; see its output above." >&2
    exit 1
}
