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

"""A server writes to an LV while the host that exports it fails.

The hosts are virtual machines: sanlock has a watchdog that resets them. LIO
exports the LV, without Cinder. Each write that was acknowledged must be there
when another host has taken over the LV.
"""

import time

import pytest

from tests.lab import cluster_hosts
from tests.lab import lio
from tests.lab import nodes
from tests.lab import polling
from tests.lab import writer
from tests.lab.cluster_hosts import VOLUME_GROUP
from tests.lab.nodes import Node
from tests.lab.server import Server

_LV = 'written'
# In seconds: more than sanlock needs to regard a host as dead, on a busy
# machine.
_EXPIRY = 500
# In seconds: so long nothing may happen. In that time, a dead host would be
# regarded as dead.
_QUIET = 200


@pytest.fixture(scope='module')
def server(hosts, folder):
    """A host that is not in the cluster."""
    # Any kernel would do, and this one is faster.
    with Node(3, folder, None, nodes.USER_MODE_LINUX) as node:
        yield Server(node)


@pytest.fixture
def exported(hosts, server):
    """The first host's export of an LV to which the server writes."""
    one, two = hosts
    cluster_hosts.create_inactive(one, _LV)
    export = lio.export(one, _LV)
    server.begin_writing(server.connect(export))
    polling.wait_for('a write to each block', lambda: len(server.writes())
                     > writer.BLOCKS)
    yield export
    two.output(f'lvremove --yes {VOLUME_GROUP}/{_LV}')


def _is_free(node):
    path = f'{VOLUME_GROUP}/{_LV}'
    return node.run(f'lvchange --activate y {path} && '
                    f'lvchange --activate n {path}').status == 0


def _take_over(server, export, other):
    """Export the LV from the other host; compare what was written."""
    acknowledged = server.stop_writing()
    server.disconnect(export)
    again = lio.export(other, _LV)
    found = server.read(server.connect(again))
    wanted = {number % writer.BLOCKS: number for number in acknowledged}
    # The disk may have the last write although it was never acknowledged.
    unanswered = acknowledged[-1] + 1
    assert {block: (number, wanted[block])
            for block, number in enumerate(found)
            if number not in (wanted[block], unanswered)} == {}
    print(f'{len(acknowledged)} acknowledged writes are there', flush=True)
    server.disconnect(again)
    lio.remove(other, _LV)


def test_a_host_that_loses_the_disk_is_reset_before_its_lv_is_free(
        hosts, server, exported):
    one, two = hosts
    one.lose_disk()
    lost = time.monotonic()
    first = polling.wait_for(
        'the watchdog, or the LV to be free',
        lambda: 'reset' if not one.is_running else (
            'free' if _is_free(two) else ''), seconds=_EXPIRY)
    print(f'{first} {time.monotonic() - lost:.0f} s after it lost the disk',
          flush=True)
    assert first == 'reset'
    polling.wait_for('the LV to be free', lambda: _is_free(two),
                     seconds=_EXPIRY)
    print(f'free {time.monotonic() - lost:.0f} s after', flush=True)
    _take_over(server, exported, two)
    cluster_hosts.restart(one, watchdog=True)


def test_a_host_that_is_cut_off_keeps_its_lv_until_it_is_powered_off(
        hosts, server, exported):
    one, two = hosts
    one.cut_off()
    cut = time.monotonic()
    while time.monotonic() - cut < _QUIET:
        assert not _is_free(two)
        time.sleep(5)
    assert one.is_running
    one.kill()
    killed = time.monotonic()
    polling.wait_for('the LV to be free', lambda: _is_free(two),
                     seconds=_EXPIRY)
    print(f'free {time.monotonic() - killed:.0f} s after it was powered off',
          flush=True)
    _take_over(server, exported, two)
    one.reconnect()
    cluster_hosts.restart(one, watchdog=True)
