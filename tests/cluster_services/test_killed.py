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

"""What works while a service of the cluster is down, or its host has failed.
"""

import pytest

from tests.lab.cluster import CLUSTER
from tests.lab.cluster import HOSTS


def test_a_volume_waits_for_the_service_of_its_host(cluster, volume):
    attachment = cluster.attach(volume)
    (owner, _), = exported = cluster.exports()
    other, = (node for name, node in cluster.nodes.items() if name != owner)
    cluster.nodes[owner].kill()
    assert cluster.detach(attachment) == 500
    assert (f'is active on {owner}@lvm, whose cinder-volume does not answer'
            in other.log())
    assert cluster.exports() == exported
    # Other volumes are not affected.
    created = cluster.api.create(1).body['volume']['id']
    cluster.api.wait(created, 'available')
    cluster.api.delete(created)
    cluster.api.wait_until_gone(created)
    cluster.nodes[owner].start()
    assert cluster.exports() == exported
    assert cluster.detach(attachment) == 200
    assert cluster.exports() == []
    assert cluster.lvm.active() == {}


def test_a_volume_whose_host_failed_is_detached_and_attached_elsewhere(
        cluster, volume):
    attachment = cluster.attach(volume)
    (owner, lv_name), = cluster.exports()
    other, = set(cluster.nodes) - {owner}
    cluster.nodes[owner].kill()
    assert cluster.detach(attachment) == 500
    cluster.fail(owner)
    assert cluster.detach(attachment) == 200
    attachment = cluster.attach(volume)
    assert cluster.exports() == [(other, lv_name)]
    # The failed host returns, and the other one still exports the volume.
    cluster.nodes[owner].start()
    assert cluster.exports() == [(other, lv_name)]
    assert cluster.api.show(volume).body['volume']['status'] == 'in-use'
    assert cluster.detach(attachment) == 200
    assert cluster.exports() == []
    assert cluster.lvm.active() == {}


@pytest.mark.parametrize('killed', HOSTS)
def test_the_other_host_can_be_named_while_a_service_is_down(
        cluster, lv, killed):
    """Cinder refuses a cluster whose first service is down."""
    node = cluster.nodes[killed]
    up, = set(HOSTS) - {killed}
    node.kill()
    cluster.report_down(killed)
    listed = {name: cluster.api.request(
        'GET', 'manageable_volumes', params=query).status for name, query in (
            ('cluster', {'cluster': CLUSTER}),
            ('up', {'host': f'{up}@lvm#lvm'}))}
    assert listed == {'cluster': 400 if killed == HOSTS[0] else 200, 'up': 200}
    reply = cluster.api.request('POST', 'manageable_volumes', {'volume': {
        'host': f'{up}@lvm#lvm', 'ref': {'source-name': 'data1'}}})
    volume_id = reply.body['volume']['id']
    managed = cluster.api.wait(volume_id, 'available')
    node.start()
    assert managed['cluster_name'] == CLUSTER
    cluster.api.unmanage(volume_id)
    cluster.api.wait_until_gone(volume_id)
