#!/usr/bin/env bash
# Checks that the packages of the named profiles in bindep.txt are installed.
# If INSTALL_PACKAGES is set, installs those that are missing.
set -eu
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || exit 0
if [ -n "${INSTALL_PACKAGES-}" ]; then
    missing=$(bindep --brief "$@") ||
        xargs --no-run-if-empty tools/apt_install.sh <<<"$missing"
fi
bindep "$@" || {
    echo "Install them, or let tools/tox.sh do it, as root." >&2
    exit 1
}
