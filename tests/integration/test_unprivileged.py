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

"""Cinder runs as a user with only the rights that packages give it.

These are a line in sudoers and the unchanged rootwrap filters of Cinder's
wheel.
"""

import os
import re

import pytest

from tests.lab import zoo
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.device_nodes import device_nodes
from tests.lab.scratch import ScratchVolumeGroup
from tests.unit.contents import recorded


@pytest.fixture(scope='module')
def lab():
    """An unprivileged Cinder, and its group with an LV of every kind."""
    with ScratchVolumeGroup('unprivileged', physical_volumes=2) as group:
        zoo.build(group)
        with CinderDeployment(Backend(group), unprivileged=True) as cinder:
            yield cinder, group


@pytest.fixture
def cinder(lab):
    cinder, _ = lab
    assert os.stat(f'/proc/{cinder.pid}').st_uid != 0
    yield cinder
    log = cinder.log_text()
    for refusal in ('Unauthorized command', 'a password is required',
                    'Permission denied', 'Operation not permitted'):
        assert refusal not in log
    # Only Cinder's own commands go through rootwrap. This driver's commands
    # are run by os-brick's daemon.
    asked_for = set(re.findall(
        r'Running cmd \(subprocess\): sudo cinder-rootwrap \S+ '
        r'(?:env (?:\w+=\S* )*)?(\S+)', log))
    assert asked_for <= {'vgs', 'lvs', 'pvs', 'lvdisplay', 'lvcreate',
                         'lvextend', 'lvremove'}


def test_lvs_are_listed_managed_and_unmanaged(cinder, lab):
    _, group = lab
    before = group.names()
    listed = cinder.api.manageable_volumes(detail=True).body[
        'manageable-volumes']
    assert {entry['reference']['source-name'] for entry in listed
            if entry['safe_to_manage']} >= {'tagged', 'origin'}
    by_name, by_uuid = (
        cinder.api.manage(ref).body['volume']['id']
        for ref in ({'source-name': 'origin'},
                    {'source-id': before['tagged']}))
    for volume in (by_name, by_uuid):
        cinder.api.wait(volume, 'available')
    assert group.names()[f'volume-{by_uuid}'] == before['tagged']
    snapshot = cinder.api.request('POST', 'manageable_snapshots', {
        'snapshot': {'volume_id': by_name,
                     'ref': {'source-name': 'thick-snapshot'}}
        }).body['snapshot']['id']
    cinder.api.wait(snapshot, 'available', kind='snapshot')
    assert cinder.api.request('POST', f'snapshots/{snapshot}/action', {
        'os-unmanage': {}}).status == 202
    cinder.api.wait_until_gone(snapshot, kind='snapshot')
    for volume in (by_name, by_uuid):
        cinder.api.unmanage(volume)
        cinder.api.wait_until_gone(volume)
    assert group.names() == before


def test_contents_are_read(cinder, lab):
    _, group = lab
    with device_nodes(group) as nodes:
        nodes.create('size-4m').write_bytes(recorded('qcow2').head)
        entry, = (entry for entry in cinder.api.manageable_volumes(
                      detail=True).body['manageable-volumes']
                  if entry['reference']['source-name'] == 'size-4m')
    assert entry['extra_info']['contents'] == 'qcow2 image of 10 GiB'
    assert not entry['safe_to_manage']


def test_cinders_own_operations_work(cinder, lab):
    _, group = lab
    before = group.names()
    volume = cinder.api.create(1).body['volume']['id']
    cinder.api.wait(volume, 'available')
    assert cinder.api.request('POST', f'volumes/{volume}/action', {
        'os-extend': {'new_size': 2}}).status == 202
    cinder.api.wait(volume, 'available')
    assert cinder.api.show(volume).body['volume']['size'] == 2
    assert cinder.api.delete(volume).status == 202
    cinder.api.wait_until_gone(volume)
    assert group.names() == before
