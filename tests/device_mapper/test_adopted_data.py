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

"""What an adopted LV holds, before, under and after Cinder."""

import hashlib
import os
import pathlib

import pytest

SIZE = 64 * 1024 ** 2


class Data:
    """The LVs' devices in the group."""

    def __init__(self, group):
        self._folder = pathlib.Path('/dev', group.name)

    def device(self, lv_name):
        return self._folder / lv_name

    def write(self, lv_name):
        """Fill an LV of SIZE with data never seen before; its digest."""
        data = os.urandom(SIZE)
        with self.device(lv_name).open('r+b') as device:
            device.write(data)
            os.fsync(device.fileno())
        return hashlib.sha256(data).hexdigest()

    def read(self, lv_name):
        """The digest of the first SIZE bytes."""
        with self.device(lv_name).open('rb') as device:
            return hashlib.sha256(device.read(SIZE)).hexdigest()


@pytest.fixture
def data(group):
    return Data(group)


@pytest.fixture
def make(group, lvm_type):
    """A function that makes an active LV as the backend has them."""
    def make_lv(name):
        if lvm_type == 'thin':
            group.lvm('lvcreate', '--yes', '--name', name, '--virtualsize',
                      f'{SIZE}b', '--thinpool', f'{group.name}-pool',
                      group.name)
        else:
            group.create(name, f'{SIZE}b')
    return make_lv


def snapshot(group, lvm_type, origin, name):
    # Room for all of it to change, and for the record of what has.
    size = [] if lvm_type == 'thin' else ['--size', f'{SIZE * 5 // 4}b']
    group.lvm('lvcreate', '--yes', '--snapshot', '--name', name, *size,
              f'{group.name}/{origin}')


def detail(cinder, name, kind='volume'):
    entry, = (entry for entry in cinder.api.request(
                  'GET', f'manageable_{kind}s/detail',
                  params={'host': cinder.host}).body[f'manageable-{kind}s']
              if entry['reference']['source-name'] == name)
    return entry


def test_an_origin_and_its_snapshots_keep_their_data(cinder, group, lvm_type,
                                                     make, data):
    make('data1')
    first = data.write('data1')
    snapshot(group, lvm_type, 'data1', 'monday')
    second = data.write('data1')
    snapshot(group, lvm_type, 'data1', 'tuesday')
    third = data.write('data1')
    before = group.names()

    api = cinder.api
    origin = api.manage({'source-name': 'data1'}).body['volume']['id']
    api.wait(origin, 'available')
    managed = {}
    for name in ('monday', 'tuesday'):
        entry = detail(cinder, name, 'snapshot')
        assert entry['safe_to_manage'], entry['reason_not_safe']
        assert entry['extra_info']['origin_volume_id'] == origin
        managed[name] = api.request('POST', 'manageable_snapshots', {
            'snapshot': {'volume_id': origin, 'ref': entry['reference']},
        }).body['snapshot']['id']
        api.wait(managed[name], 'available', kind='snapshot')
    assert data.read(f'volume-{origin}') == third

    made = api.create(1, snapshot_id=managed['monday']).body['volume']['id']
    api.wait(made, 'available')
    assert data.read(f'volume-{made}') == first
    assert api.delete(made).status == 202
    api.wait_until_gone(made)

    for snapshot_id in managed.values():
        assert api.request('POST', f'snapshots/{snapshot_id}/action',
                           {'os-unmanage': {}}).status == 202
        api.wait_until_gone(snapshot_id, kind='snapshot')
    assert api.unmanage(origin).status == 202
    api.wait_until_gone(origin)
    assert group.names() == before
    assert data.read('data1') == third
    group.lvm('lvchange', '--activate', 'y', '--yes', '--ignoreactivationskip',
              f'{group.name}/tuesday')
    assert data.read('tuesday') == second


def test_an_open_lv_is_refused_until_it_is_closed(cinder, group, make, data):
    make('data2')
    digest = data.write('data2')
    with data.device('data2').open('rb'):
        assert 'is open (' in detail(cinder, 'data2')['reason_not_safe']
        refused = cinder.api.manage(
            {'source-name': 'data2'}).body['volume']['id']
        cinder.api.wait(refused, 'error')
        assert 'data2' in group.names()
    managed = cinder.api.manage({'source-name': 'data2'}).body['volume']['id']
    cinder.api.wait(managed, 'available')
    assert data.read(f'volume-{managed}') == digest


def test_an_inactive_lv_can_be_managed(cinder, group, make):
    make('data3')
    group.lvm('lvchange', '--activate', 'n', f'{group.name}/data3')
    managed = cinder.api.manage({'source-name': 'data3'}).body['volume']['id']
    cinder.api.wait(managed, 'available')
    assert cinder.api.unmanage(managed).status == 202
    cinder.api.wait_until_gone(managed)
    assert 'data3' in group.names()
