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

"""The conditions on which a backend can be in a cluster (active-active)."""

from __future__ import annotations

from cinder_lvm_manage import errors
from cinder_lvm_manage import exports
from cinder_lvm_manage.inventory import Inventory

# Coordination drivers of tooz whose locks other hosts do not see.
_LOCAL_COORDINATORS = ('file', 'ipc', 'zake')


def check(inventory: Inventory, host: str, lvm_type: str,
          coordinator_url: str, local_coordinator: bool) -> None:
    """Refuse to start in a cluster where data would be in danger.

    :param host: of this service, host@backend
    :param lvm_type: as configured
    :param coordinator_url: backend_url of the section coordination
    :param local_coordinator: allow a coordinator that only this host sees
    :raises ClusterRefused: a condition is not met
    """
    vg = inventory.vg_name
    scheme = coordinator_url.partition(':')[0]
    if lvm_type != 'default':
        raise errors.ClusterRefused(
            f'lvm_type is {lvm_type}, which allows volumes in a thin pool. A '
            'pool is active on one host at a time, so its volumes cannot be '
            'used on several. Set lvm_type = default, or remove the option '
            'cluster')
    if not inventory.shared:
        raise errors.ClusterRefused(
            f'Volume group {vg} is not shared, so LVM does not keep two hosts '
            'from using the same LV. Make it shared with `vgchange '
            f'--lock-type sanlock {vg}`, see lvmlockd(8), or remove the '
            'option cluster')
    if not inventory.locked:
        raise errors.ClusterRefused(
            f'LVM cannot lock the shared volume group {vg}. Check that '
            f'lvmlockd and sanlock are running, run `vgchange --lockstart '
            f'{vg}`, and restart cinder-volume. If a host has just failed, '
            'wait until its locks have expired, about 3 minutes')
    if scheme in _LOCAL_COORDINATORS and not local_coordinator:
        raise errors.ClusterRefused(
            f'backend_url in section coordination has the scheme {scheme}, '
            'whose locks are not seen by other hosts. Use one that all hosts '
            'of the cluster share, such as etcd3+http://HOST:2379 or '
            'redis://HOST:6379')
    if not exports.is_taggable(host):
        raise errors.ClusterRefused(
            f'The host name {host} has characters that cannot be in an LV '
            'tag. Use letters, digits and . _ - in the option host and in '
            'the name of the backend')
