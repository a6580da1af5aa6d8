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

# What is installed within it does not start its system services.
without_services() {
    local policy=/usr/sbin/policy-rc.d
    if [ -e $policy ]; then
        "$@"
    else
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        "$@"
        rm $policy
    fi
}

python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
if [ ! -x .venv/bin/tox ]; then
    python3 -m venv .venv
    .venv/bin/pip install -q 'tox>=4.11' bindep
fi
profiles=test
install=install_packages
case " $* " in
    *" dm "* | *" life "* | *" walkthrough "* | *" tempest_dm "* | \
        *" bench_dm "*)
        profiles="test dm"
        ;;
esac
case " $* " in *" lvm31 "*)
    profiles="$profiles lvm31"
    ;;
esac
case " $* " in *" udev "*)
    profiles="$profiles udev"
    install="without_services install_packages"
    ;;
esac
case " $* " in *" tempest "*)
    profiles="$profiles tempest"
    install="without_services install_packages"
    ;;
esac
missing=$(.venv/bin/bindep --brief $profiles) || $install $missing
exec .venv/bin/tox "$@"
