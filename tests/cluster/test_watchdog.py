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

"""A server writes to a volume while the host that exports it fails.

The hosts are virtual machines: sanlock has a watchdog that resets them. Each
write that the server was told of must be there when another host has taken
over the volume.
"""

import time

import pytest

from tests.lab import cluster_hosts
from tests.lab import nodes
from tests.lab import polling
from tests.lab import writer
from tests.lab.cluster_hosts import VOLUME_GROUP
from tests.lab.nodes import Node
from tests.lab.server import Server

# More than sanlock needs to regard a host as dead, on a busy machine.
_EXPIRY = 500
# While nothing may happen; sanlock would regard a dead host as such after 140.
_QUIET = 200


@pytest.fixture(scope='module')
def server(hosts, folder):
    """A host that is not in the cluster."""
    # Its kernel does not matter, and this one is quicker.
    with Node(3, folder, None, nodes.USER_MODE_LINUX) as node:
        yield Server(node)


@pytest.fixture
def written(cinder, attempts, server):
    """A volume to which the server writes, and the host that exports it."""
    volume = attempts.create('written').result
    attached = attempts.attach(volume, server.connector)
    assert not attached.error
    exporting = cinder.node(cinder.exporting(volume))
    server.begin_writing(server.connect(attached.result))
    polling.wait_for('a write to each block', lambda: len(server.writes())
                     > writer.BLOCKS)
    assert server.is_writing()
    yield volume, exporting, attached.result
    assert not attempts.delete(volume).error


def _is_free(node, volume):
    path = f'{VOLUME_GROUP}/volume-{volume}'
    return node.run(f'lvchange --activate y {path} && '
                    f'lvchange --activate n {path}').status == 0


def _take_over(cinder, attempts, server, volume, attachment, other):
    """Attach the volume from the other host; compare what was written."""
    acknowledged = server.stop_writing()
    server.disconnect(attachment)
    assert not attempts.detach(attachment['id']).error
    attached = attempts.attach(volume, server.connector)
    assert not attached.error
    assert cinder.exporting(volume) == other.name
    device = server.connect(attached.result)
    found = server.read(device)
    last = acknowledged[-1]
    # The write that was never answered may be there or not.
    wanted = {number % writer.BLOCKS: number for number in acknowledged}
    lost = {block: (number, wanted[block])
            for block, number in enumerate(found)
            if number != wanted[block] and number != last + 1}
    assert not lost
    server.disconnect(attached.result)
    assert not attempts.detach(attached.result['id']).error


def test_a_host_that_loses_the_disk_is_reset_before_its_lv_is_free(
        cinder, attempts, server, written, table):
    volume, node, attachment = written
    other, = (each for each in cinder.nodes if each is not node)
    node.lose_disk()
    lost = time.monotonic()
    reset = polling.wait_for(
        'the watchdog, or the LV to be free',
        lambda: 'reset' if not node.is_running else (
            'free' if _is_free(other, volume) else ''), seconds=_EXPIRY)
    table.note('loses the disk', 'host dead',
               f'reset {time.monotonic() - lost:.0f} s later')
    assert reset == 'reset'
    polling.wait_for('the LV to be free', lambda: _is_free(other, volume),
                     seconds=_EXPIRY)
    table.note('loses the disk', 'host dead',
               f'LV free {time.monotonic() - lost:.0f} s later')
    _take_over(cinder, attempts, server, volume, attachment, other)
    cluster_hosts.restart(node, watchdog=True)
    cinder.start_service(node)


def test_a_host_that_is_cut_off_the_network_keeps_its_lvs_until_it_is_off(
        cinder, attempts, server, written, table):
    volume, node, attachment = written
    other, = (each for each in cinder.nodes if each is not node)
    node.cut_off()
    cut = time.monotonic()
    while time.monotonic() - cut < _QUIET:
        assert not _is_free(other, volume)
        time.sleep(5)
    assert node.is_running
    node.kill()
    killed = time.monotonic()
    polling.wait_for('the LV to be free', lambda: _is_free(other, volume),
                     seconds=_EXPIRY)
    table.note('cut off the network, then powered off', 'host dead',
               f'LV free {time.monotonic() - killed:.0f} s after power-off')
    _take_over(cinder, attempts, server, volume, attachment, other)
    node.reconnect()
    cluster_hosts.restart(node, watchdog=True)
    cinder.start_service(node)
