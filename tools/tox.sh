#!/usr/bin/env bash
# Runs tox with these arguments, after installing tox itself in .venv. The
# Debian packages that an environment needs are installed too, as root.
set -eu
cd "$(dirname "$0")/.."

python3 -c 'import ensurepip' 2>/dev/null ||
    tools/apt_install.sh python3-venv
if [ ! -x .venv/bin/tox ]; then
    python3 -m venv .venv
    .venv/bin/pip install -q 'tox>=4.11'
fi
INSTALL_PACKAGES=1 exec .venv/bin/tox "$@"
