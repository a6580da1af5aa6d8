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


"""The data of an origin and its snapshots, managed and unmanaged again."""

from oslo_utils import units
import pytest

from tests.lab import life

SIZE = 64 * units.Mi


@pytest.mark.parametrize('backend', ['thick', 'thin'])
def test_an_origin_and_its_snapshots_keep_their_data(laboratory, backend):
    group, api = laboratory.groups[backend], laboratory.cinder.api
    host = f'lab@{backend}#{backend}'
    origin = life.Life(laboratory, backend, SIZE)
    origin.create_lv()
    digests = {}
    for number, name in enumerate(('monday', 'tuesday')):
        life.fill(origin.device(origin.name), number)
        digests[name] = life.digest(origin.device(origin.name), SIZE)
        # Space for changes of all its data, and for their metadata.
        group.lvm('lvcreate', '--yes', '--snapshot', '--name', name,
                  *([] if backend == 'thin' else ['--size', f'{SIZE * 2}b']),
                  f'{backend}/{origin.name}')
    origin.fill()
    before = group.names()

    origin.manage()
    managed = []
    for name in digests:
        entry, = (entry for entry in api.request(
                      'GET', 'manageable_snapshots/detail',
                      params={'host': host}).body['manageable-snapshots']
                  if entry['reference']['source-name'] == name)
        assert entry['safe_to_manage'], entry['reason_not_safe']
        assert entry['extra_info']['origin_volume_id'] == origin.volume
        managed.append(origin.created(
            api.request('POST', 'manageable_snapshots', {'snapshot': {
                'volume_id': origin.volume, 'ref': entry['reference']}}),
            'snapshot'))
    origin.check()
    made = origin.created(api.create(1, snapshot_id=managed[0]))
    assert life.digest(origin.device(f'volume-{made}'),
                       SIZE) == digests['monday']
    origin.delete(made)
    # A revert recreates the snapshot; its old name must be kept.
    origin.action('revert', snapshot_id=managed[1])
    api.wait(origin.volume, 'available')
    assert life.digest(origin.device(f'volume-{origin.volume}'),
                       SIZE) == digests['tuesday']

    for snapshot in managed:
        api.request('POST', f'snapshots/{snapshot}/action',
                    {'os-unmanage': {}})
        api.wait_until_gone(snapshot, kind='snapshot')
    api.unmanage(origin.volume)
    api.wait_until_gone(origin.volume)
    after = group.names()
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {
        'tuesday'}
    group.lvm('lvchange', '--activate', 'y', '--yes', '--ignoreactivationskip',
              f'{backend}/monday')
    assert life.digest(origin.device('monday'), SIZE) == digests['monday']
