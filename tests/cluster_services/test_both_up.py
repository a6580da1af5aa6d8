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

"""Requests with `cluster`, and attachments, with both services up."""

import collections
import concurrent.futures

import pytest

from tests.lab.cluster import CLUSTER
from tests.lab.cluster import HOSTS
from tests.lab.zoo import origin_with_snapshot

ROUNDS = 50


@pytest.mark.parametrize(('microversion', 'status'), [
    ('3.15', 400), ('3.16', 202), ('3.17', 202), ('3.70', 202)])
def test_managing_by_cluster(cluster, lv, microversion, status):
    reply = cluster.api.request('POST', 'manageable_volumes', {'volume': {
        'cluster': CLUSTER, 'ref': {'source-name': 'data1'}}},
        microversion=microversion)
    assert reply.status == status
    if status == 202:
        volume_id = reply.body['volume']['id']
        cluster.api.wait(volume_id, 'available')
        cluster.api.unmanage(volume_id)
        cluster.api.wait_until_gone(volume_id)


@pytest.mark.parametrize(('microversion', 'status'), [
    ('3.16', 400), ('3.17', 200), ('3.70', 200)])
def test_listing_by_cluster(cluster, volume, microversion, status):
    reply = cluster.api.request(
        'GET', 'manageable_volumes/detail', params={'cluster': CLUSTER},
        microversion=microversion)
    assert reply.status == status
    if status == 200:
        entry, = reply.body['manageable-volumes']
        assert entry['cinder_id'] == volume
        assert 'no action is needed' in entry['reason_not_safe']


def test_a_volume_of_any_size_is_created_extended_and_deleted(cluster):
    volume_id = cluster.api.create(1).body['volume']['id']
    cluster.api.wait(volume_id, 'available')
    assert cluster.lvm.active() == {}
    cluster.api.request('POST', f'volumes/{volume_id}/action',
                        {'os-extend': {'new_size': 2}})
    assert cluster.api.wait(volume_id, 'available')['size'] == 2
    cluster.api.delete(volume_id)
    cluster.api.wait_until_gone(volume_id)
    assert cluster.group.names() == {}


def served(cluster, words):
    """Return how often these words are in the log of each service."""
    return collections.Counter(
        {name: node.log().count(words)
         for name, node in cluster.nodes.items()})


def test_no_export_is_left_by_detaches_that_the_other_host_served(
        cluster, volume):
    words = 'which has the LV active, performed remove_export'
    before = served(cluster, words)
    for number in range(ROUNDS):
        attachment = cluster.attach(volume, f'iqn.lab:{number}')
        host, _ = cluster.exports()[0]
        assert cluster.exports() == [(host, f'volume-{volume}')]
        assert cluster.nodes[host].exports() == {
            f'volume-{volume}': [f'iqn.lab:{number}']}
        assert list(cluster.lvm.active().values()) == [host]
        other, = set(HOSTS) - {host}
        cluster.let_answer(other)
        assert cluster.detach(attachment) == 200
        assert cluster.exports() == []
        assert cluster.lvm.active() == {}
    assert (served(cluster, words) - before).total() == ROUNDS


def test_a_volume_in_use_is_extended_where_it_is_exported(cluster, volume):
    attachment = cluster.attach(volume)
    exported = cluster.exports()
    for size in range(2, 6):
        cluster.api.request('POST', f'volumes/{volume}/action',
                            {'os-extend': {'new_size': size}},
                            microversion='3.42')
        assert cluster.api.wait(volume, 'in-use')['size'] == size
        assert cluster.exports() == exported
    assert cluster.detach(attachment) == 200


def test_a_snapshot_is_managed_where_its_origin_is_exported(cluster):
    cluster.group.restore(origin_with_snapshot('data1', 'snap1'))
    names = cluster.group.names()
    volume = cluster.manage('data1')
    cluster.api.wait(volume, 'available')
    attachment = cluster.attach(volume)
    exported = cluster.exports()
    for _ in HOSTS:
        listed = cluster.api.request('GET', 'manageable_snapshots/detail',
                                     params={'cluster': CLUSTER})
        entry, = listed.body['manageable-snapshots']
        assert entry['safe_to_manage'], entry
        assert entry['extra_info']['origin_volume_id'] == volume
        snapshot = cluster.api.request(
            'POST', 'manageable_snapshots', {'snapshot': {
                'volume_id': volume, 'ref': {'source-name': 'snap1'}}}
            ).body['snapshot']['id']
        cluster.api.wait(snapshot, 'available', kind='snapshot')
        assert cluster.group.names() == {
            f'volume-{volume}': names['data1'],
            f'_snapshot-{snapshot}': names['snap1']}
        cluster.api.request('POST', f'snapshots/{snapshot}/action',
                            {'os-unmanage': {}})
        cluster.api.wait_until_gone(snapshot, kind='snapshot')
        assert cluster.exports() == exported
    assert cluster.detach(attachment) == 200
    cluster.api.unmanage(volume)
    cluster.api.wait_until_gone(volume)
    assert cluster.lvm.active() == {}
    assert cluster.group.names() == names
    assert cluster.group.tags('data1') == cluster.group.tags('snap1') == set()
    cluster.group.lvm('lvremove', '--yes', cluster.group.name)


@pytest.mark.parametrize('number', range(12))
def test_of_two_simultaneous_manages_one_gets_the_lv(cluster, lv, number):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ids = list(pool.map(cluster.manage, ['data1'] * 2))
    statuses = {cluster.wait_for_end(volume_id): volume_id
                for volume_id in ids}
    assert statuses.keys() == {'available', 'error'}
    cluster.api.unmanage(statuses['available'])
    cluster.api.delete(statuses['error'])
    for volume_id in ids:
        cluster.api.wait_until_gone(volume_id)
