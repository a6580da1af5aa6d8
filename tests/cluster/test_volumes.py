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

"""Volumes of a cluster while both of its services are up."""

from tests.lab import cluster_hosts
from tests.lab.cluster_hosts import VOLUME_GROUP

# How often a volume that is exported is worked on, until each service has
# received a request.
_TRIES = 6
# Of attaching and detaching; tests/cluster_services has more of them.
_ROUNDS = 4


def test_lvs_are_listed_managed_and_unmanaged_by_cluster(
        hosts, cinder, attempts, table):
    names = [f'old{number}' for number in range(4)]
    for name in names:
        cluster_hosts.create_inactive(hosts[0], name)
    listed = attempts.list()
    table.note('list', 'free', listed)
    rows = {row['reference']['source-name']: row for row in listed.result}
    assert set(names) <= set(rows)
    assert all(rows[name]['safe_to_manage'] for name in names), rows
    managed = [attempts.manage(name) for name in names]
    assert [each.error for each in managed] == [''] * 4
    assert {each.host for each in managed} == {'node1', 'node2'}
    table.note('manage', 'free', managed[-1])
    assert cinder.active(hosts[0]) == cinder.active(hosts[1]) == set()
    released = [attempts.unmanage(each.result) for each in managed]
    assert [each.error for each in released] == [''] * 4
    table.note('unmanage', 'free', released[-1])
    assert set(names) <= set(cinder.lvs())
    assert not any(cinder.lvs()[name]['lv_tags'] for name in names)
    assert cinder.active(hosts[0]) == cinder.active(hosts[1]) == set()
    for name in names:
        hosts[1].output(f'lvremove --yes {VOLUME_GROUP}/{name}')


def test_an_lv_that_a_host_has_open_is_not_managed(hosts, cinder, attempts,
                                                   table):
    """Each service refuses it, and nothing changes."""
    one, _ = hosts
    one.output(f'lvcreate --yes --size 64m --name open {VOLUME_GROUP}')
    one.output(f'sleep 1000 </dev/{VOLUME_GROUP}/open >/dev/null 2>&1 & '
               'echo $! >/run/open.pid')
    before = cinder.lvs()['open']
    for _ in range(2):
        refused = attempts.manage('open')
        assert refused.error == 'status error'
        table.note('manage an LV in use', 'exported here'
                   if refused.host == one.name else 'exported there', refused)
    assert cinder.lvs()['open'] == before
    one.output('kill $(cat /run/open.pid)')
    one.output(f'lvremove --yes {VOLUME_GROUP}/open')


def test_a_volume_that_nobody_uses(hosts, cinder, attempts, table):
    created = attempts.create('v')
    assert not created.error
    table.note('create', 'free', created)
    volume = created.result
    _note(table, 'extend', 'free', attempts.extend(volume))
    taken = attempts.create_snapshot(volume)
    _note(table, 'create a snapshot', 'free', taken)
    _note(table, 'delete a snapshot', 'free',
          attempts.delete_snapshot(taken.result))
    attached = attempts.attach(volume)
    _note(table, 'attach', 'free', attached)
    _note(table, 'detach', 'exported here'
          if attached.host == cinder.exporting(volume) else 'exported there',
          attempts.detach(attached.result['id']))
    assert cinder.active(hosts[0]) == cinder.active(hosts[1]) == set()
    _note(table, 'delete', 'free', attempts.delete(volume))
    assert not cinder.lvs()


def test_a_volume_that_is_exported(hosts, cinder, attempts, table):
    """The host that exports it does the work, whichever service is asked."""
    volume = attempts.create('v').result
    attached = attempts.attach(volume)
    owner = cinder.exporting(volume)
    data = _write(cinder.node(owner), volume)
    asked = set()
    for _ in range(_TRIES):
        taken = attempts.create_snapshot(volume)
        _note_exported(table, 'create a snapshot', owner, taken)
        for what, outcome in (
                ('delete a snapshot', attempts.delete_snapshot(taken.result)),
                ('extend', attempts.extend(volume))):
            _note_exported(table, what, owner, outcome)
            asked.add((what, outcome.host))
        if len(asked) == 4:
            break
    assert len(asked) == 4
    assert cinder.exporting(volume) == owner
    assert data == _read(cinder.node(owner), volume)
    detached = attempts.detach(attached.result['id'])
    _note_exported(table, 'detach', owner, detached)
    assert cinder.targets(hosts[0]) == cinder.targets(hosts[1]) == set()
    assert cinder.active(hosts[0]) == cinder.active(hosts[1]) == set()
    assert not attempts.delete(volume).error


def test_no_detach_leaves_an_export(hosts, cinder, attempts):
    volume = attempts.create('v').result
    pairs = set()
    for _ in range(_ROUNDS):
        attached = attempts.attach(volume)
        assert not attached.error
        owner = cinder.exporting(volume)
        detached = attempts.detach(attached.result['id'])
        assert not detached.error
        pairs.add((owner, detached.host))
        assert cinder.targets(hosts[0]) == cinder.targets(hosts[1]) == set()
        assert cinder.active(hosts[0]) == cinder.active(hosts[1]) == set()
    assert any(owner != asked for owner, asked in pairs)
    assert not attempts.delete(volume).error


def _note(table, operation, column, outcome):
    assert not outcome.error, outcome
    table.note(operation, column, outcome)


def _note_exported(table, operation, owner, outcome):
    _note(table, operation, 'exported here' if outcome.host == owner
          else 'exported there', outcome)


def _write(node, volume):
    """Write 1 MiB to the volume's LV, and return its checksum."""
    path = f'/dev/{VOLUME_GROUP}/volume-{volume}'
    node.output(f'dd if=/dev/urandom of={path} bs=1M count=1 oflag=direct')
    return _read(node, volume)


def _read(node, volume):
    path = f'/dev/{VOLUME_GROUP}/volume-{volume}'
    return node.output(f'dd if={path} bs=1M count=1 iflag=direct '
                       'status=none | sha256sum')
