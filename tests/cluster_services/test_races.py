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

"""Two requests at once, for the same volume or LV, to a cluster.

Whichever is first, and whichever service gets which: no LV is lost, and
nothing stays active or exported.
"""

import concurrent.futures
import os
import subprocess
import time

import pytest

from tests.lab import polling
from tests.lab.cluster import HOSTS
from tests.lab.volume_api import VolumeApi

ROUNDS = 10


def at_once(cluster, *requests):
    """Send requests at once, and return their results.

    :param requests: functions of a VolumeApi
    """
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(
            lambda send: send(VolumeApi(cluster.url, '')), requests))


@pytest.fixture
def shareable(cluster, lv):
    """The ID of a volume that can be attached more than once."""
    reply = cluster.api.request('POST', 'types', {'volume_type': {
        'name': 'shareable', 'extra_specs': {'multiattach': '<is> True'}}})
    volume_type = reply.body['volume_type']['id']
    volume = cluster.manage('data1', volume_type=volume_type)
    cluster.api.wait(volume, 'available')
    yield volume
    cluster.api.unmanage(volume)
    cluster.api.wait_until_gone(volume)
    cluster.api.request('DELETE', f'types/{volume_type}')


def initiators(cluster):
    """Return the initiators of the only export."""
    (host, lv_name), = cluster.exports()
    assert [*cluster.lvm.active().values()] == [host]
    return {*cluster.nodes[host].exports()[lv_name]}


def check_unused(cluster, volume, names):
    """Check that the volume can be used, and is not."""
    cluster.api.wait(volume, 'available')
    assert cluster.group.names() == names
    assert cluster.exports() == []
    assert cluster.lvm.active() == {}


def test_two_attachments_of_a_volume(cluster, volume):
    names = cluster.group.names()
    for _ in range(ROUNDS):
        replies = at_once(cluster, *(
            lambda api, name=name: api.attach(volume, connector(name))
            for name in 'ab'))
        attached = [reply for reply in replies if reply.status == 200]
        assert len(attached) == 1, replies
        assert len(initiators(cluster)) == 1
        assert cluster.detach(attached[0].body['attachment']) == 200
        check_unused(cluster, volume, names)


def test_two_attachments_of_a_volume_that_allows_them(cluster, shareable):
    names = cluster.group.names()
    for _ in range(ROUNDS):
        replies = at_once(cluster, *(
            lambda api, name=name: api.attach(shareable, connector(name))
            for name in 'ab'))
        attached = {f'iqn.lab:{name}': reply.body['attachment']
                    for name, reply in zip('ab', replies, strict=True)
                    # Cinder may refuse the second during the first.
                    if reply.status == 200}
        assert attached, replies
        assert initiators(cluster) == attached.keys()
        for attachment in attached.values():
            assert cluster.detach(attachment) == 200
        check_unused(cluster, shareable, names)


@pytest.fixture
def reporting(cluster):
    """The cluster, whose services report their statistics often."""
    def restart(**options):
        for node in cluster.nodes.values():
            node.kill()
            node.start(**options)

    restart(periodic_interval='1', backend_stats_polling_interval='3')
    yield cluster
    restart()


def during_a_detach(cluster, attachment, request):
    """Send a request that begins when a detach has looked for others.

    :returns: the request's result
    """
    (host, _), = cluster.exports()
    node = cluster.nodes[host]

    def waiting():
        """Return how often LIO's lock was waited for."""
        return node.log().count('Acquiring lock "lioadm"')

    with concurrent.futures.ThreadPoolExecutor() as pool:
        node.lvm.break_at(1, 'halts before its work', '', 'delete-initiator')
        detached = pool.submit(cluster.detach, attachment)
        node.lvm.wait_until_halted()
        before = waiting()
        requested = pool.submit(request)
        polling.wait_for('the second request', lambda: waiting() > before)
        node.lvm.resume()
        assert detached.result() == 200
        return requested.result()


def test_two_detaches_of_which_each_sees_the_other_attachment(reporting,
                                                              shareable):
    """Cinder has the export removed for neither of them."""
    names = reporting.group.names()
    one, two = (reporting.attach(shareable, f'iqn.lab:{name}')
                for name in 'ab')
    assert during_a_detach(reporting, one,
                           lambda: reporting.detach(two)) == 200
    polling.wait_for('the LV to be inactive',
                     lambda: not reporting.lvm.active())
    check_unused(reporting, shareable, names)


def test_an_attachment_that_a_detach_does_not_see(cluster, shareable):
    """Cinder has the export removed although it is needed."""
    names = cluster.group.names()
    second = during_a_detach(
        cluster, cluster.attach(shareable),
        lambda: cluster.attach(shareable, 'iqn.lab:b'))
    assert initiators(cluster) == {'iqn.lab:b'}
    assert cluster.detach(second) == 200
    check_unused(cluster, shareable, names)


@pytest.mark.parametrize('servers', ['ab', 'aa'])
def test_two_detaches_of_a_volume(reporting, shareable, servers):
    """From two hosts, or from two servers on one host."""
    names = reporting.group.names()
    for _ in range(ROUNDS):
        attachments = [reporting.attach(shareable, f'iqn.lab:{name}')
                       for name in servers]
        assert at_once(reporting, *(
            lambda _, attachment=attachment: reporting.detach(attachment)
            for attachment in attachments)) == [200, 200]
        polling.wait_for('the LV to be inactive',
                         lambda: not reporting.lvm.active())
        check_unused(reporting, shareable, names)


@pytest.mark.parametrize('kind', ['volume', 'shareable'])
def test_an_attachment_and_a_detach(cluster, kind, request):
    volume = request.getfixturevalue(kind)
    names = cluster.group.names()
    for _ in range(ROUNDS):
        first = cluster.attach(volume)
        detached, second = at_once(
            cluster, lambda _, first=first: cluster.detach(first),
            lambda api: api.attach(volume, connector('b')))
        assert detached == 200
        if second.status == 200:
            assert initiators(cluster) == {'iqn.lab:b'}
            assert cluster.detach(second.body['attachment']) == 200
        check_unused(cluster, volume, names)


def test_an_extension_and_a_detach(cluster, volume):
    names = cluster.group.names()
    for size in range(2, 2 + ROUNDS):
        attachment = cluster.attach(volume)
        _, detached = at_once(
            cluster, lambda api, size=size: api.request(
                'POST', f'volumes/{volume}/action',
                {'os-extend': {'new_size': size}}, microversion='3.42'),
            lambda _, attachment=attachment: cluster.detach(attachment))
        assert detached == 200
        check_unused(cluster, volume, names)


def attach_and_end(cluster, volume, end):
    """Request an attachment and the end of a volume; one is refused."""
    cluster.api.wait(volume, 'available')
    names = cluster.group.names()
    attached, ended = at_once(
        cluster, lambda api: api.attach(volume, connector('a')),
        lambda api: end(api, volume))
    assert {attached.status == 200, ended.status == 202} == {True, False}
    if attached.status == 200:
        assert initiators(cluster) == {'iqn.lab:a'}
        assert cluster.detach(attached.body['attachment']) == 200
        check_unused(cluster, volume, names)
        end(cluster.api, volume)
    cluster.api.wait_until_gone(volume)
    assert cluster.exports() == []
    assert cluster.lvm.active() == {}


def test_an_attachment_and_a_deletion(cluster):
    for _ in range(ROUNDS):
        volume = cluster.api.create(1).body['volume']['id']
        attach_and_end(cluster, volume, VolumeApi.delete)
        assert cluster.group.names() == {}


def test_an_attachment_and_an_unmanage(cluster, lv):
    for _ in range(ROUNDS):
        attach_and_end(cluster, cluster.manage('data1'), VolumeApi.unmanage)
        assert cluster.group.names() == {'data1': lv}
        assert cluster.group.tags('data1') == set()


def test_a_manage_and_the_removal_of_its_lv_by_hand(cluster, lv):
    """No other LV is removed in its place."""
    group = cluster.group
    managed = removed = 0
    for number in range(ROUNDS):
        group.create('data2', '4m')

        def remove(_, delay=number / 2):
            # A manage takes a while to reach the driver.
            time.sleep(delay)
            # LVM refuses if the LV was renamed, or is active on node2.
            subprocess.run(
                ['lvremove', '--yes', f'{group.name}/data2'], check=False,
                capture_output=True, env=os.environ | group.environment | {
                    'PATH': cluster.lvm.path('node1')})

        _, volume = at_once(cluster, remove,
                            lambda _: cluster.manage('data2'))
        status = cluster.wait_for_end(volume)
        left = group.names()
        assert left.pop('data1') == lv
        if status == 'available':
            managed += 1
            assert left.keys() == {f'volume-{volume}'}
        else:
            removed += 1
            assert left == {}
        cluster.api.delete(volume)
        cluster.api.wait_until_gone(volume)
        assert group.names() == {'data1': lv}
    print(f'{managed} managed, {removed} removed')


def connector(name):
    """Return the connector of a host of this name."""
    return {'initiator': f'iqn.lab:{name}', 'host': name, 'ip': '127.0.0.1',
            'multipath': False}


@pytest.mark.parametrize('restarted', [*([host] for host in HOSTS), HOSTS],
                         ids=str)
def test_restarts_neither_lose_nor_repeat_exports(cluster, shareable,
                                                  restarted):
    attachments = [cluster.attach(shareable, f'iqn.lab:{name}')
                   for name in 'ab']
    before = cluster.exports(), cluster.lvm.active(), initiators(cluster)
    for host in restarted:
        cluster.nodes[host].kill()
    for host in restarted:
        cluster.nodes[host].start()
    assert before == (cluster.exports(), cluster.lvm.active(),
                      initiators(cluster))
    assert cluster.api.show(shareable).body['volume']['status'] == 'in-use'
    for attachment in attachments:
        assert cluster.detach(attachment) == 200
    assert cluster.exports() == []
    assert cluster.lvm.active() == {}
