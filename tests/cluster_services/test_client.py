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

"""The client on a backend that is in a cluster."""

import json
import uuid

import pytest

from tests.lab.cluster import CLUSTER
from tests.lab.openstack_client import OpenStackClient

LVS = ('data1', 'data2', 'data3')
# The exit status of an audit that finds a problem.
FOUND = 3


@pytest.fixture
def lvs(cluster):
    """The UUIDs of some LVs by name, which are left as they were."""
    for name in LVS:
        cluster.group.create(name, '4m')
    names = cluster.group.names()
    yield names
    left = cluster.left()
    cluster.group.lvm('lvremove', '--yes', cluster.group.name)
    assert left == (names, set(), {}, [])


@pytest.mark.parametrize('stopped', [None, 'node2'])
def test_lvs_are_adopted_audited_and_released(cluster, lvs, tmp_path,
                                              stopped):
    """With one of two services down, the other does the work."""
    client = OpenStackClient(cluster.url)
    plan = tmp_path / 'plan.yaml'

    def adoption(*arguments, exit_status=0):
        done = client.run('volume', 'adoption', *arguments)
        assert done.returncode == exit_status, done.stderr
        return done.stdout

    if stopped:
        cluster.nodes[stopped].kill()
    listed = json.loads(adoption('list', '--cluster', CLUSTER, '-f', 'json'))
    assert {row['Name']: row['Safe'] for row in listed} == dict.fromkeys(
        lvs, True)
    adoption('plan', '--cluster', CLUSTER, '--output', plan)
    adoption('apply', plan)
    if stopped:
        cluster.nodes[stopped].start()
    status = json.loads(adoption('status', plan, '-f', 'json'))
    assert status['Done'] == len(lvs)
    assert '| done | 3 | 3 | 12,582,912 |' in adoption('report', plan)
    assert json.loads(adoption('audit', '--cluster', CLUSTER, '-f', 'json')
                      ) == []
    lost = f'volume-{uuid.uuid4()}'
    cluster.group.create(lost, '4m')
    found, = json.loads(adoption('audit', '--cluster', CLUSTER, '-f', 'json',
                                 exit_status=FOUND))
    assert (found['Code'], found['LV']) == ('volume-missing', lost)
    cluster.group.lvm('lvremove', '--yes', f'{cluster.group.name}/{lost}')
    adoption('undo', f'{plan}.journal')
