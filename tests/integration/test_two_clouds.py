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

"""Two independent Cinders on one volume group.

They share no lock and no database. Only LVM's own lock, and the check after
each change, prevent both from managing the same LV.
"""

from concurrent import futures

import pytest

from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.scratch import ScratchVolumeGroup

LVS = 20


@pytest.fixture(scope='module')
def lab():
    """The group and the two Cinders."""
    with ScratchVolumeGroup('shared') as group:
        backend = Backend(group)
        with CinderDeployment(backend) as one, CinderDeployment(
                backend) as other:
            yield group, one, other


def test_each_lv_has_one_owner(lab):
    group, *cinders = lab
    names = [f'data{number}' for number in range(LVS)]
    for name in names:
        group.create(name, '4m')
    before = group.names()
    with futures.ThreadPoolExecutor(2) as pool:
        requested = list(pool.map(lambda cinder: {
            name: cinder.api.manage({'source-name': name}).body['volume']['id']
            for name in names}, cinders))
    ended = [{name: ending(cinder, volume) for name, volume in volumes.items()}
             for cinder, volumes in zip(cinders, requested, strict=True)]
    for name in names:
        winners = [volumes[name] for volumes, statuses in zip(
            requested, ended, strict=True) if statuses[name] == 'available']
        now = {uuid: lv for lv, uuid in group.names().items()}[before[name]]
        if winners:
            winner, = winners
            assert now == f'volume-{winner}'
            assert group.tags(now) == {f'cinder_lvm_manage:id={winner}',
                                       f'cinder_lvm_manage:name={name}'}
        else:
            assert now == name
    assert any('available' in statuses.values() for statuses in ended)
    for cinder, volumes in zip(cinders, requested, strict=True):
        for volume in volumes.values():
            if cinder.api.show(volume).body['volume']['status'] == 'error':
                cinder.api.delete(volume)
            else:
                cinder.api.unmanage(volume)
        for volume in volumes.values():
            cinder.api.wait_until_gone(volume)
    assert group.names() == before
    # Tags of an attempt may be left; the next manage removes them.
    for name in names:
        if group.tags(name):
            volume = cinders[0].api.manage({'source-name': name}
                                           ).body['volume']['id']
            assert ending(cinders[0], volume) == 'available'
            cinders[0].api.unmanage(volume)
            cinders[0].api.wait_until_gone(volume)
            assert group.tags(name) == set()
    assert group.names() == before


def ending(cinder, volume):
    """Return the status in which a manage ends."""
    return cinder.api.wait(volume, 'available', 'error')['status']
