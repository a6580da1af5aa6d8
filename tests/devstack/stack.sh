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

# Does what DevStack's stack.sh, unstack.sh and clean.sh do for Cinder's
# backends and for plugins, in their order and by DevStack's functions:
#   stack.sh stack|unstack|clean
# in a copy of DevStack with a local.conf. As root, with an /etc to spare.
#
# What DevStack defines and uses, shellcheck does not see.
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

# There may be no systemd: runs what a unit would when enabled or disabled.
function systemctl {
    local unit=/etc/systemd/system/$3
    case $1 in
        enable) eval "$(sed -n 's/^ExecStart=//p' "$unit")" ;;
        disable) eval "$(sed -n 's/^ExecStop=//; T; s/\$\$/$/gp' "$unit")" ;;
    esac
}

# The machine is not ours to change; its packages are those of bindep.txt.
function install_package {
    die $LINENO "not installed: $*"
}

# Nor are its iSCSI targets, all of which DevStack deletes.
function cinder-rtstool {
    :
}

# There is no Keystone to be asked for projects.
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

# A checkout of Cinder, with what a wheel of it has instead.
function clone_cinder {
    local data
    data=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("data"))')
    mkdir -p "$CINDER_DIR" /etc/sudoers.d
    ln -s "$data/etc" "$CINDER_DIR/etc"
}

# DevStack's virtual environment; the Cinder in it is that of the caller.
function prepare_virtualenv {
    local where='import sysconfig; print(sysconfig.get_path("purelib"))'
    local callers
    callers=$("$PYTHON" -c "$where")
    setup_devstack_virtualenv
    echo "$callers" >"$("$PYTHON" -c "$where")/callers.pth"
    $VIRTUALENV_CMD "$DEST/bindep-venv"
    "$DEST/bindep-venv/bin/pip" install bindep
}

# openstack/requirements, with no constraints and thus none to edit.
function clone_requirements {
    mkdir -p "$REQUIREMENTS_DIR/.venv/bin"
    touch "$REQUIREMENTS_DIR/upper-constraints.txt"
    ln -s /bin/true "$REQUIREMENTS_DIR/.venv/bin/edit-constraints"
}

# Tempest is configured only.
function spare_tempest {
    function install_tempest {
        mkdir -p "$TEMPEST_DIR"
    }
    function install_tempest_plugins {
        :
    }
    function pip_install_gr {
        :
    }
    function tox {
        :
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
    spare_tempest
    clone_cinder
    clone_requirements
    prepare_virtualenv
    set -o xtrace
    run_phase stack pre-install
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
