#!/bin/bash
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

# Backends of type lvm_manage, for CINDER_ENABLED_BACKENDS. DevStack calls
# {configure,init,cleanup}_cinder_backend_lvm_manage NAME for each of them.

LVM_MANAGE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# DevStack itself sources this only if there is a backend of type lvm too.
# shellcheck source=/dev/null
source "$CINDER_BACKENDS/lvm"

# Installs a package of this repository, and those of its requirements that
# are not installed in any version. pip would replace the others, because what
# DevStack clones with GIT_DEPTH has no tags, and so a version that is too low.
function install_with_absent_requirements {
    local package_dir=$1
    local absent

    absent=$("$PYTHON" "$LVM_MANAGE_DIR/devstack/absent_requirements.py" \
        "$package_dir/requirements.txt")
    pip_install --no-deps -e "$package_dir"
    # shellcheck disable=SC2086
    pip_install $absent
}

function install_lvm_manage {
    install_bindep "$LVM_MANAGE_DIR/bindep.txt"
    install_with_absent_requirements "$LVM_MANAGE_DIR"
}

function install_osc_volume_adopt {
    install_with_absent_requirements "$LVM_MANAGE_DIR/client"
}

function configure_cinder_backend_lvm_manage {
    local be_name=$1

    configure_cinder_backend_lvm "$be_name"
    iniset "$CINDER_CONF" "$be_name" volume_driver \
        cinder_lvm_manage.driver.LVMManageDriver
    iniset "$CINDER_CONF" "$be_name" lvm_type "$LVM_MANAGE_TYPE"
}

function init_cinder_backend_lvm_manage {
    init_cinder_backend_lvm "$1"
}

# Both unstack.sh and clean.sh call this.
function cleanup_cinder_backend_lvm_manage {
    cleanup_cinder_backend_lvm "$1"
}

# DevStack needs no other phases: it calls the functions above.
if [[ "$1" == "stack" && "$2" == "install" ]] && is_service_enabled c-vol; then
    echo_summary "Installing cinder_lvm_manage"
    install_lvm_manage
elif [[ "$1" == "stack" && "$2" == "post-config" ]]; then
    # python-openstackclient is not installed before this phase.
    echo_summary "Installing osc-volume-adopt"
    install_osc_volume_adopt
fi
