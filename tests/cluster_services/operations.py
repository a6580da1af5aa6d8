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

"""Operation: what a service of a cluster is killed in, and how it is repaired.

An operator repairs it as doc/source/cluster.rst says.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import pathlib
import threading
from typing import Any
from typing import NamedTuple

from tests.lab.cluster import Cluster
from tests.lab.cluster import Node
from tests.lab.volume_api import Reply
from tests.lab.volume_api import VolumeApi
from tests.lab.zoo import origin_with_snapshot

_COMMANDS = {'lvrename': 'rename', 'lvextend': 'extension',
             'lvcreate': 'creation', 'lvremove': 'removal', 'lvs': 'lvs',
             'lvdisplay': 'lvdisplay'}
# What changes nothing: a kill at it is like one after the command before it.
# Nobody reads what `save` writes before the host is booted again.
_READING = ('report', 'lvs', 'lvdisplay', 'get-targets', 'save')


def name_of(command: list[str]) -> str:
    """Return what a command of FaultyLvm.calls does."""
    match pathlib.Path(command[0]).name:
        case 'cinder-rtstool':
            return command[1]
        case 'lvm':
            return 'report'
        case 'lvchange':
            return ('tags' if {'--addtag', '--deltag'} & {*command} else
                    'deactivation' if 'n' in command or '-an' in command
                    else 'activation')
        case name:
            return _COMMANDS[name]


CONNECTOR = {'initiator': 'iqn.lab:one', 'host': 'compute', 'ip': '127.0.0.1',
             'multipath': False}


class Kill(NamedTuple):
    """When a service is killed.

    :ivar step: the number of the command
    :ivar before: whether the command has not done its work yet
    """

    step: int
    before: bool


class Operation:
    """An operation, with what it is performed on.

    :cvar commands: what the service that is killed runs, in order
    """

    commands: tuple[str, ...]
    # Whether a service that is not killed answers the request.
    is_answered = False
    # Whether the operator does not wait for the service of the host that has
    # the LV active.
    acts_at_once = False
    # Whether what set_up made cannot be used again.
    consumes = False
    lv_name = 'data1'
    names: dict[str, str]
    tags: frozenset[str] | set[str] = frozenset()

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.api = cluster.api

    @classmethod
    def kills(cls) -> Iterator[Kill]:
        """Return the kills that leave different states."""
        last = len(cls.commands)
        for step, command in enumerate(cls.commands, 1):
            changes = command not in _READING
            if changes or step == 1:
                yield Kill(step, True)
            if changes or step == last:
                yield Kill(step, False)

    def set_up(self) -> None:
        """Make what is there before the operation and after its repair."""
        self.cluster.group.create('data1', '4m')
        self.names = self.cluster.group.names()

    def tear_down(self) -> None:
        """Remove that."""
        left = self.cluster.left()
        self.cluster.group.lvm('lvremove', '--yes', self.cluster.group.name)
        assert left == (self.names, set(), {}, [])

    def prepare(self) -> None:
        """Do what precedes the operation."""

    def nodes(self) -> list[Node]:
        """Return the nodes of which one is killed."""
        return [*self.cluster.nodes.values()]

    def request(self, api: VolumeApi) -> Any:
        """Request the operation, and return the answer."""
        raise NotImplementedError

    def wait(self) -> None:
        """Wait until the operation has succeeded."""

    def undo(self) -> None:
        """Undo the operation after it has succeeded."""

    def repair(self) -> bool:
        """Do what an operator does after a service was killed.

        :returns: whether it succeeded
        """
        raise NotImplementedError

    def end(self) -> None:
        """Repeat the operation after the repair, and undo and check it."""

    def check(self) -> None:
        """Check that no LV is lost, nothing is active and nothing exported."""
        assert self.cluster.lvm.active() == {}
        self.check_metadata()

    def check_metadata(self) -> None:
        """Check that no LV is lost, and nothing exported."""
        group = self.cluster.group
        assert group.names() == self.names
        assert set().union(*map(group.tags, self.names)) == self.tags
        assert self.cluster.exports() == []

    def manage(self) -> str:
        """Manage data1, and return the volume's ID."""
        volume = self.cluster.manage('data1')
        self.api.wait(volume, 'available')
        return volume

    def unmanage(self, volume: str) -> None:
        """Unmanage a volume."""
        self.api.unmanage(volume)
        self.api.wait_until_gone(volume)

    def is_gone(self, resource_id: str, kind: str = 'volume') -> bool:
        """Return whether Cinder removes something, and does not fail to."""
        try:
            self.api.wait_until_gone(resource_id, kind)
        except RuntimeError:
            return False
        return True


class Request(threading.Thread):
    """A request whose answer may never come."""

    def __init__(self, cluster: Cluster,
                 send: Callable[[VolumeApi], Any]) -> None:
        super().__init__(daemon=True)
        self._api = VolumeApi(cluster.url, '')
        self._send = send
        self.start()

    def run(self) -> None:
        self._send(self._api)


class Manage(Operation):
    """The LV is released by any service, and managed again."""

    commands: tuple[str, ...] = (
        'report', 'report', 'report', 'activation', 'report', 'deactivation',
        'tags', 'rename', 'report')

    def request(self, api: VolumeApi) -> None:
        self.volume = self.cluster.manage('data1')

    def wait(self) -> None:
        self.api.wait(self.volume, 'available')

    def undo(self) -> None:
        self.unmanage(self.volume)

    def repair(self) -> bool:
        self.api.set_status(self.volume, 'error')
        self.api.delete(self.volume)
        return self.is_gone(self.volume)

    def check(self) -> None:
        # An LV that no volume has may be active, as if by its administrator.
        self.check_metadata()

    def end(self) -> None:
        self.unmanage(self.manage())
        super().check()


class Unmanage(Operation):
    """A volume is set to available, and unmanaged again."""

    commands: tuple[str, ...] = (
        'report', 'activation', 'report', 'deactivation', 'report', 'rename',
        'tags')

    def prepare(self) -> None:
        self.volume = self.manage()

    def request(self, api: VolumeApi) -> Reply:
        return api.unmanage(self.volume)

    def wait(self) -> None:
        self.api.wait_until_gone(self.volume)

    def repair(self) -> bool:
        if self.api.show(self.volume).status == 404:
            return True
        self.api.set_status(self.volume, 'available')
        self.api.unmanage(self.volume)
        return self.is_gone(self.volume)


class WithVolume(Operation):
    """An operation with a volume, the same each time."""

    def set_up(self) -> None:
        super().set_up()
        self.uuid = self.names['data1']
        self.volume = self.manage()
        self.names = self.cluster.group.names()
        self.lv_name, = self.names
        self.tags = self.cluster.group.tags(self.lv_name)

    def tear_down(self) -> None:
        self.unmanage(self.volume)
        self.names = {'data1': self.uuid}
        super().tear_down()

    def check(self) -> None:
        super().check()
        found = self.show()
        assert (found['status'], found['attachments']) == ('available', [])

    def show(self) -> dict[str, Any]:
        """Return what Cinder's API shows of the volume."""
        shown: dict[str, Any] = self.api.show(self.volume).body['volume']
        return shown


class Attach(WithVolume):
    """The attachment is deleted, and the volume is attached again."""

    commands: tuple[str, ...] = (
        'report', 'activation', 'tags', 'get-targets', 'activation', 'create',
        'get-targets', 'save', 'report', 'add-initiator', 'save')
    acts_at_once = True

    def request(self, api: VolumeApi) -> Reply:
        return api.attach(self.volume, CONNECTOR)

    def undo(self) -> None:
        assert self.repair()

    def repair(self) -> bool:
        listed = self.api.request('GET', 'attachments', params={
            'volume_id': self.volume}).body['attachments']
        return all(self.cluster.detach(attachment) == 200
                   for attachment in listed)

    def end(self) -> None:
        attachment = self.cluster.attach(self.volume)
        (host, lv_name), = self.cluster.exports()
        assert lv_name == self.lv_name
        assert self.cluster.lvm.active() == {self.uuid: host}
        assert self.cluster.detach(attachment) == 200
        self.check()


class InUse(WithVolume):
    """An operation with a volume that is attached.

    :cvar asked_owner: whether the service that exports it is asked
    :cvar killed_owner: whether that one is killed
    """

    asked_owner = True
    killed_owner = True

    def prepare(self) -> None:
        self.attachment = self.cluster.attach(self.volume)
        (self.owner, _), = self.exported = self.cluster.exports()
        self.other, = set(self.cluster.nodes) - {self.owner}

    def let_answer(self) -> None:
        """Let the right service get the request."""
        self.cluster.let_answer(self.owner if self.asked_owner
                                else self.other)

    def nodes(self) -> list[Node]:
        return [self.cluster.nodes[self.owner if self.killed_owner
                                   else self.other]]


class Detach(InUse, Attach):
    """The attachment is deleted again."""

    commands: tuple[str, ...] = (
        'report', 'delete-initiator', 'save', 'report', 'delete', 'save',
        'report', 'tags', 'report', 'deactivation')
    acts_at_once = False

    def prepare(self) -> None:
        super().prepare()
        # As Nova does.
        self.api.request('POST', f'volumes/{self.volume}/action',
                         {'os-begin_detaching': {}})
        self.let_answer()

    def request(self, api: VolumeApi) -> Reply:
        return api.request('DELETE', f'attachments/{self.attachment["id"]}')

    def undo(self) -> None:
        pass


class DetachOfTheOther(Detach):
    """The service that passes a detach to the other one is killed."""

    commands: tuple[str, ...] = (
        'report', 'activation', 'report', 'report', 'activation', 'report')
    asked_owner = False
    killed_owner = False


class DetachPassedOn(Detach):
    """The service to which the other one passes a detach is killed."""

    # Both times, it first tells the other service that it has the LV.
    commands: tuple[str, ...] = (
        'report', *Detach.commands[:3], 'report', *Detach.commands[3:])
    asked_owner = False
    is_answered = True

    @classmethod
    def kills(cls) -> Iterator[Kill]:
        # The LV is left as in Detach.
        return (kill for kill in super().kills() if kill.before)


class Extend(WithVolume):
    """A volume is set to available, and extended again."""

    commands: tuple[str, ...] = (
        'report', 'activation', 'report', 'lvdisplay', 'extension', 'report',
        'deactivation')
    status = 'available'

    def prepare(self) -> None:
        super().prepare()
        self.size = self.show()['size'] + 1

    def request(self, api: VolumeApi) -> Reply:
        return api.request('POST', f'volumes/{self.volume}/action',
                           {'os-extend': {'new_size': self.size}},
                           microversion='3.42')

    def wait(self) -> None:
        self.api.wait(self.volume, self.status)

    def undo(self) -> None:
        """An LV is not reduced."""

    def repair(self) -> bool:
        found = self.show()
        if (found['status'], found['size']) != (self.status, self.size):
            self.api.set_status(self.volume, self.status)
            if found['size'] != self.size:
                reply = self.request(self.api)
                assert reply.status == 202, reply
        try:
            self.wait()
        except RuntimeError:
            return False
        return True

    def check(self) -> None:
        row, = self.cluster.group.report('lv_size')
        assert (self.show()['size'], int(row['lv_size'])) == (
            self.size, self.size << 30)
        super().check()


class ExtendInUse(Extend, InUse):
    """A volume is set to in-use, and extended again."""

    commands: tuple[str, ...] = ('report', 'report', 'lvdisplay', 'extension')
    status = 'in-use'

    def prepare(self) -> None:
        super().prepare()
        self.let_answer()

    def check(self) -> None:
        assert self.cluster.exports() == self.exported
        assert self.cluster.detach(self.attachment) == 200
        super().check()


class ExtendOfTheOther(ExtendInUse):
    """The service that passes an extension to the other one is killed."""

    commands: tuple[str, ...] = ('report', 'activation', 'report')
    asked_owner = False
    killed_owner = False


class Create(Operation):
    """A volume whose creation was interrupted is deleted."""

    commands: tuple[str, ...] = ('creation', 'report', 'deactivation')
    # Cinder deletes a volume that was being deleted when its service starts.
    created = ''

    def request(self, api: VolumeApi) -> Reply:
        reply = api.create(1)
        self.created = reply.body['volume']['id']
        return reply

    def wait(self) -> None:
        self.api.wait(self.created, 'available')

    def undo(self) -> None:
        self.api.delete(self.created)
        self.api.wait_until_gone(self.created)

    def repair(self) -> bool:
        if self.api.show(self.created).status == 404:
            return True
        self.api.set_status(self.created, 'error')
        self.api.delete(self.created)
        return self.is_gone(self.created)


class Delete(Create):
    """A volume is set to error, and deleted again."""

    commands: tuple[str, ...] = (
        'report', 'activation', 'report', 'deactivation', 'report', 'report',
        'activation', 'lvs', 'lvdisplay', 'removal', 'report')

    def prepare(self) -> None:
        super().request(self.api)
        super().wait()

    def request(self, api: VolumeApi) -> Reply:
        return api.delete(self.created)

    def wait(self) -> None:
        self.api.wait_until_gone(self.created)

    def undo(self) -> None:
        pass


class WithSnapshot(WithVolume):
    """An operation with a snapshot of a volume.

    It was not created here: without device-mapper, LVM creates none.
    """

    def set_up(self) -> None:
        group = self.cluster.group
        group.restore(origin_with_snapshot('data1', 'snap1'))
        self.were = group.names()
        self.volume = self.manage()
        self.names = group.names()
        self.tags = group.tags(f'volume-{self.volume}')

    def tear_down(self) -> None:
        self.unmanage(self.volume)
        self.names = self.were
        Operation.tear_down(self)

    def prepare(self) -> None:
        self.manage_snapshot(self.api)
        self.wait_for_snapshot()

    def manage_snapshot(self, api: VolumeApi) -> Reply:
        reply = api.request('POST', 'manageable_snapshots', {'snapshot': {
            'volume_id': self.volume, 'ref': {'source-name': 'snap1'}}})
        self.snapshot = reply.body['snapshot']['id']
        return reply

    def wait_for_snapshot(self) -> None:
        self.api.wait(self.snapshot, 'available', kind='snapshot')

    def unmanage_snapshot(self, api: VolumeApi) -> Reply:
        return api.request('POST', f'snapshots/{self.snapshot}/action',
                           {'os-unmanage': {}})

    def set_snapshot_status(self, status: str) -> None:
        self.api.request('POST', f'snapshots/{self.snapshot}/action',
                         {'os-reset_status': {'status': status}})

    def delete_snapshot(self, api: VolumeApi) -> Reply:
        return api.request('DELETE', f'snapshots/{self.snapshot}')

    def snapshot_is_gone(self) -> bool:
        return self.is_gone(self.snapshot, 'snapshot')


class ManageSnapshot(WithSnapshot):
    """The snapshot is released by any service, and managed again."""

    commands: tuple[str, ...] = (
        'report', 'report', 'report', 'activation', 'tags', 'rename', 'report',
        'report', 'deactivation')

    def prepare(self) -> None:
        pass

    def request(self, api: VolumeApi) -> Reply:
        return self.manage_snapshot(api)

    def wait(self) -> None:
        self.wait_for_snapshot()

    def undo(self) -> None:
        self.unmanage_snapshot(self.api)
        assert self.snapshot_is_gone()

    def repair(self) -> bool:
        self.set_snapshot_status('error')
        self.delete_snapshot(self.api)
        return self.snapshot_is_gone()

    def end(self) -> None:
        self.request(self.api)
        self.wait()
        self.undo()
        self.check()


class UnmanageSnapshot(WithSnapshot):
    """A snapshot is set to available, and unmanaged again."""

    commands: tuple[str, ...] = (
        'report', 'report', 'activation', 'rename', 'tags', 'report',
        'deactivation')

    def request(self, api: VolumeApi) -> Reply:
        return self.unmanage_snapshot(api)

    def wait(self) -> None:
        assert self.snapshot_is_gone()

    def repair(self) -> bool:
        if self.api.request('GET', f'snapshots/{self.snapshot}').status == 404:
            return True
        self.set_snapshot_status('available')
        self.unmanage_snapshot(self.api)
        return self.snapshot_is_gone()


class DeleteSnapshot(WithSnapshot):
    """A snapshot is set to error, and deleted again."""

    commands: tuple[str, ...] = (
        'report', 'report', 'activation', 'lvs', 'removal', 'report',
        'deactivation')

    consumes = True

    def tear_down(self) -> None:
        del self.were['snap1']
        super().tear_down()

    def request(self, api: VolumeApi) -> Reply:
        return self.delete_snapshot(api)

    def wait(self) -> None:
        assert self.snapshot_is_gone()

    def repair(self) -> bool:
        if self.api.request('GET', f'snapshots/{self.snapshot}').status == 404:
            return True
        self.set_snapshot_status('error')
        self.delete_snapshot(self.api)
        return self.snapshot_is_gone()

    def check(self) -> None:
        del self.names['snap1']
        super().check()


OPERATIONS: tuple[type[Operation], ...] = (
    Manage, Unmanage, Attach, Detach, DetachOfTheOther, DetachPassedOn, Extend,
    ExtendInUse, ExtendOfTheOther, Create, Delete, ManageSnapshot,
    UnmanageSnapshot, DeleteSnapshot)
