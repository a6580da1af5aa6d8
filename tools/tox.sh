#!/usr/bin/env bash
# Runs tox on a fresh Debian 12 machine: installs what tox and the labs lack
# (as root), then passes its arguments on.
set -eu
cd "$(dirname "$0")/.."

install_packages() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends "$@" >/dev/null
}

python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
if [ ! -x .venv/bin/tox ]; then
    python3 -m venv .venv
    .venv/bin/pip install -q 'tox>=4.11' bindep
fi
profiles=test
case " $* " in
    *" dm "* | *" life "* | *" walkthrough "*) profiles="test dm" ;;
esac
missing=$(.venv/bin/bindep --brief $profiles) || install_packages $missing
exec .venv/bin/tox "$@"
