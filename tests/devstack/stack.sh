#!/usr/bin/env bash
#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

# Runs those functions of DevStack that stack.sh, unstack.sh and clean.sh call
# for Cinder's backends and for plugins, in the same order:
#   stack.sh stack|unstack|clean
# Run it as root, in a copy of DevStack with a local.conf, with a copy of /etc.
#
# ShellCheck cannot see what DevStack defines and uses.
# shellcheck disable=SC1090,SC1091,SC2034,SC2154,SC2317,SC2329

TOP_DIR=$PWD
FILES=$TOP_DIR/files
source functions
GetDistro
extract_localrc_section local.conf localrc .localrc.auto
source stackrc
source lib/database
source lib/rpc_backend

# Root needs no sudo.
function sudo {
    "$@"
}

# Systemd may not run. Runs the commands of a unit that is enabled or disabled.
function systemctl {
    local unit=/etc/systemd/system/$3
    case $1 in
        enable) eval "$(sed -n 's/^ExecStart=//p' "$unit")" ;;
        disable) eval "$(sed -n 's/^ExecStop=//; T; s/\$\$/$/gp' "$unit")" ;;
    esac
}

# The tests must not change the machine; bindep.txt has the packages they need.
function install_package {
    die $LINENO "not installed: $*"
}

# DevStack would delete all iSCSI targets of the machine.
function cinder-rtstool {
    :
}

# There is no Keystone that could list projects.
function openstack {
    :
}

function source_libraries {
    local library
    for library in apache tls libraries lvm keystone glance nova cinder \
        neutron; do
        source lib/$library
    done
}

# The folder of a name in sysconfig.
function python_path {
    "$PYTHON" -c "import sysconfig; print(sysconfig.get_path('$1'))"
}

# DevStack's virtual environment, which sees the packages of the caller's.
function prepare_virtualenv {
    local packages
    packages=$(python_path purelib)
    CALLERS_DATA=$(python_path data)
    setup_devstack_virtualenv
    echo "$packages" >"$(python_path purelib)/callers.pth"
    $VIRTUALENV_CMD "$DEST/bindep-venv"
    "$DEST/bindep-venv/bin/pip" install bindep
}

function git_commit {
    git -C "$1" -c user.name=tests -c user.email=tests@localhost \
        commit --quiet --allow-empty --message "$2"
}

# Cinder at a commit after a release, as GIT_DEPTH=1 clones it: without the tag
# of the release. It has no code; the caller's Cinder has.
function install_cinder_from_git {
    local upstream=$DEST/upstream/cinder

    git init --quiet --initial-branch master "$upstream"
    printf '[metadata]\nname = cinder\n' >"$upstream/setup.cfg"
    cat >"$upstream/setup.py" <<EOF
import setuptools

setuptools.setup(setup_requires=['pbr>=7.0.0'], pbr=True)
EOF
    cat >"$upstream/pyproject.toml" <<EOF
[build-system]
requires = ["pbr>=7.0.0", "setuptools>=77.0.0"]
build-backend = "pbr.build"

[project]
name = "cinder"
dynamic = ["version"]

[tool.setuptools]
packages = []
EOF
    git -C "$upstream" add .
    git_commit "$upstream" "The release"
    git -C "$upstream" tag 29.0.0
    git_commit "$upstream" "A change"
    GIT_DEPTH=1 git_clone "file://$upstream" "$CINDER_DIR" master
    setup_develop "$CINDER_DIR"
    ln -s "$CALLERS_DATA/etc" "$CINDER_DIR/etc"
}

# openstack/requirements, without constraints, so that none are edited.
function clone_requirements {
    mkdir -p "$REQUIREMENTS_DIR/.venv/bin"
    touch "$REQUIREMENTS_DIR/upper-constraints.txt"
    ln -s /bin/true "$REQUIREMENTS_DIR/.venv/bin/edit-constraints"
}

# Tempest comes from PyPI. In its virtual environment, only commands that need
# no cloud are run.
function prepare_tempest {
    function install_tempest {
        mkdir -p "$TEMPEST_DIR"
        python3 -m venv "$TEMPEST_DIR/.tox/tempest"
        "$TEMPEST_DIR/.tox/tempest/bin/pip" install tempest
    }
    function pip_install_gr {
        :
    }
    # tox -evenv-tempest -- COMMAND...
    function tox {
        local command=$TEMPEST_DIR/.tox/tempest/bin/$3
        case "$*" in
            *" pip install "*"$TEMPEST_PLUGINS" | *" tempest list-plugins")
                "$command" "${@:4}"
                ;;
        esac
    }
}

function stack {
    set -o errexit
    mkdir -p "$DATA_DIR" "$DEST/async"
    PYTHON=$(which python3)
    fetch_plugins
    run_phase override_defaults
    source_libraries
    run_phase source
    prepare_tempest
    clone_requirements
    prepare_virtualenv
    set -o xtrace
    run_phase stack pre-install
    install_cinder_from_git
    configure_cinder
    run_phase stack install
    async_runfunc init_cinder
    async_wait init_cinder
    run_phase stack post-config
    run_phase stack extra
    set_lvm_filter
    run_phase stack test-config
}

function unstack {
    run_phase override_defaults
    source_libraries
    load_plugin_settings
    set -o xtrace
    run_phase unstack
    cleanup_cinder
    clean_lvm_filter
}

function clean {
    source_libraries
    load_plugin_settings
    set -o xtrace
    run_phase clean
    cleanup_cinder
}

"$1"
