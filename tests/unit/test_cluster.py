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


"""The conditions on which the driver starts in a cluster."""

import dataclasses

import pytest

from cinder_lvm_manage import cluster
from cinder_lvm_manage import errors
from tests.unit.reports import inventory

SHARED = dataclasses.replace(inventory('zoo'), shared=True)
GOOD = {'inventory': SHARED, 'host': 'node1@lvm', 'lvm_type': 'default',
        'coordinator_url': 'etcd3+http://etcd:2379',
        'local_coordinator': False}


@pytest.mark.parametrize('change', [
    {},
    {'coordinator_url': 'redis://host:6379'},
    {'coordinator_url': 'file:///var/lib/cinder', 'local_coordinator': True},
    {'host': 'node-1.example.org@lvm_1'},
])
def test_it_starts(change):
    cluster.check(**{**GOOD, **change})


@pytest.mark.parametrize(('change', 'why'), [
    ({'lvm_type': 'thin'}, 'Set lvm_type = default'),
    # LVMVolumeDriver would make a thin pool of the group.
    ({'lvm_type': 'auto'}, 'Set lvm_type = default'),
    ({'inventory': inventory('zoo')}, 'vgchange --lock-type sanlock scratch'),
    ({'inventory': dataclasses.replace(SHARED, locked=False)},
     'vgchange --lockstart scratch'),
    ({'coordinator_url': 'file:///var/lib/cinder'}, 'has the scheme file'),
    ({'coordinator_url': 'file://$state_path'}, 'has the scheme file'),
    ({'coordinator_url': 'ipc://'}, 'has the scheme ipc'),
    ({'host': 'node 1@lvm'}, 'cannot be in an LV tag'),
    ({'host': 'node/1@lvm'}, 'cannot be in an LV tag'),
])
def test_it_refuses_to_start(change, why):
    with pytest.raises(errors.ClusterRefused, match=why):
        cluster.check(**{**GOOD, **change})
