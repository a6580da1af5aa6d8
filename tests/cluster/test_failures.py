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

"""A service or a host of a cluster is killed.

The service or host that is killed exports a volume to a server, which writes
to it. No host exports the volume "other".
"""

import time

import pytest

from tests.lab import cluster_hosts
from tests.lab import polling
from tests.lab.cluster_hosts import VOLUME_GROUP

# In seconds: enough for sanlock's lease to expire, on a busy machine.
_EXPIRY = 400


def _others_go_on(attempts, table, column, lv_name, survivor):
    """Check that everything can be done with volumes that are not exported."""
    for operation, attempt in (
            ('list', attempts.list),
            ('create', lambda: attempts.create('other'))):
        outcome = attempt()
        table.note(operation, column, outcome)
    assert not outcome.error
    volume = outcome.result
    attached = attempts.attach(volume)
    table.note('attach another volume', column, attached)
    assert not attached.error
    for operation, outcome in (
            ('detach', attempts.detach(attached.result['id'])),
            ('delete', attempts.delete(volume))):
        table.note(f'{operation} another volume', column, outcome)
        assert not outcome.error
    # Cinder's API refuses a request by cluster if the service of the cluster
    # that it recorded first is down.
    by_cluster = attempts.manage(lv_name)
    table.note('manage by cluster', column, by_cluster)
    if by_cluster.result:
        assert not attempts.unmanage(by_cluster.result).error
    managed = attempts.manage(lv_name, f'{survivor.name}@lvm#lvm')
    table.note('manage by host', column, managed)
    assert not managed.error
    released = attempts.unmanage(managed.result)
    table.note('unmanage', column, released)
    assert not released.error


@pytest.fixture
def plain(hosts):
    """An LV that can be managed."""
    cluster_hosts.create_inactive(hosts[0], 'plain')
    yield 'plain'
    node = next(node for node in hosts if node.is_running)
    node.output(f'lvremove --yes {VOLUME_GROUP}/plain')


def test_the_service_of_the_exporting_host_is_killed(
        cinder, attempts, table, used, plain):
    node, other = cinder.owner_and_other(used.id)
    column = 'service dead'
    cinder.kill_service(node)
    _others_go_on(attempts, table, column, plain, other)
    # The server can use the volume, but operations on it are refused.
    used.check_that_it_is_written()
    refused = {}
    for operation, attempt in (
            ('detach', used.detach),
            ('extend', lambda: attempts.extend(used.id)),
            ('create a snapshot', lambda: attempts.create_snapshot(used.id))):
        refused[operation] = attempt()
        table.note(operation, column, refused[operation])
        assert refused[operation].error
        cinder.reset(used.id)
    assert cinder.exporting(used.id) == node.name
    cinder.start_service(node)
    snapshot = refused['create a snapshot'].result
    assert not attempts.delete_snapshot(snapshot).error
    assert cinder.exporting(used.id) == node.name
    used.check_that_it_is_written()
    used.stop_writing()
    used.check_what_was_written()
    assert not used.detach().error
    assert not any(cinder.targets(each) for each in cinder.nodes)


def test_the_exporting_host_is_killed(cinder, attempts, table, used, plain):
    """The server writes, and finds all its writes after the takeover."""
    node, other = cinder.owner_and_other(used.id)
    column = 'host dead'
    lv_name = f'volume-{used.id}'
    node.kill()
    killed = time.monotonic()
    refused = other.run(f'lvchange --activate y {VOLUME_GROUP}/{lv_name}')
    assert 'LV locked by other host' in refused.output
    _others_go_on(attempts, table, column, plain, other)
    for operation, attempt in (
            ('extend', attempts.extend),
            ('create a snapshot', attempts.create_snapshot)):
        outcome = attempt(used.id)
        after = time.monotonic() - killed
        table.note(operation, column,
                   f'{outcome} ({after:.0f} s after its death)')
        cinder.reset(used.id)
    snapshot = outcome.result
    polling.wait_for('the lease of the dead host to expire',
                     lambda: cluster_hosts.is_free(other, lv_name),
                     seconds=_EXPIRY)
    table.note('activate its LV', column,
               f'possible {time.monotonic() - killed:.0f} s after its death')
    used.stop_writing()
    for operation, attempt in (('detach', used.detach),
                               ('attach', used.attach)):
        outcome = attempt()
        table.note(operation, column, outcome)
        assert not outcome.error
    assert cinder.exporting(used.id) == other.name
    used.check_what_was_written()
    assert not attempts.delete_snapshot(snapshot).error
    # The dead host returns, and the other one still exports the volume.
    cluster_hosts.restart(node)
    cinder.start_service(node)
    assert cinder.exporting(used.id) == other.name
    assert not cinder.active(node)
    assert not used.detach().error
    assert not any(cinder.targets(each) for each in cinder.nodes)


def test_a_host_is_killed_while_it_has_the_lock_of_the_group(
        cinder, attempts, table, plain):
    node, other = cinder.nodes
    column = 'host dead, with the lock of the group'
    node.output(f'lvcreate --yes --size 64m --name asked {VOLUME_GROUP}')
    # lvremove asks whether to remove the active LV. It holds the lock while it
    # waits for the answer.
    node.output('mkfifo /run/answer; (sleep 1000 >/run/answer) '
                '>/dev/null 2>&1 &')
    node.begin(f'lvremove {VOLUME_GROUP}/asked </run/answer')
    polling.wait_for('the lock of the group', lambda: 'LK VG ex'
                     in node.output('lvmlockctl --info'))
    node.kill()
    killed = time.monotonic()
    listed = attempts.list()
    table.note('list', column, listed)
    managed = attempts.manage(plain)
    table.note('manage', column, managed)
    polling.wait_for('the lock of the group', lambda: other.run(
        f'lvchange --addtag later {VOLUME_GROUP}/asked').status == 0,
        seconds=_EXPIRY)
    table.note('change the group', column,
               f'possible {time.monotonic() - killed:.0f} s after its death')
    if managed.error:
        assert not attempts.delete(managed.result).error
        managed = attempts.manage(plain)
        assert not managed.error
    assert not attempts.unmanage(managed.result).error
    other.output(f'lvremove --yes {VOLUME_GROUP}/asked')
    cluster_hosts.restart(node)
    cinder.start_service(node)
    assert not cinder.active(node)
