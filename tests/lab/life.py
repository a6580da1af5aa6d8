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

"""The life of an adopted volume: each operation of Cinder, on LVs of any size.

Needs device-mapper, root, and tgtd and iscsid running.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import os
import pathlib
import re
import tempfile
import time
from typing import Any
from typing import NamedTuple
import uuid

import os_brick
from os_brick.initiator import connector
import os_brick.privileged
from oslo_concurrency import lockutils
from oslo_config import cfg
from oslo_utils import units
import requests
import tenacity

from tests.lab import glance
from tests.lab import polling
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import ISCSI
from tests.lab.service_conf import OURS
from tests.lab.volume_api import Reply

SIZES = {'4 MiB': 4 * units.Mi, '1 GiB': units.Gi,
         '1 GiB + 4 MiB': units.Gi + 4 * units.Mi,
         '1.5 GiB': 3 * units.Gi // 2}

# Of adopted volumes.
BACKENDS = ('thick', 'thin')

_CONNECTOR = {'ip': '127.0.0.1', 'host': 'guest', 'multipath': False,
              'initiator': 'iqn.2026-01.guest:initiator'}
_SECONDS = 900


@dataclasses.dataclass(frozen=True)
class Laboratory:
    """A Cinder with the backends thick and thin, and other to migrate to.

    Each volume group has the name of its backend. thick clears volumes with
    zeros. other is thick too, does not clear, and has old data in its free
    extents.

    :ivar images_url: of a Glance that needs no token
    """

    cinder: CinderDeployment
    images_url: str
    groups: dict[str, ScratchVolumeGroup]


@contextlib.contextmanager
def laboratory(volume_driver: str = OURS,
               unprivileged: bool = False) -> Iterator[Laboratory]:
    """Run Cinder with its three backends, and Glance.

    :param unprivileged: Cinder has only the rights of its packages
    """
    scratch = functools.partial(ScratchVolumeGroup, device_mapper=True)
    with (scratch('thick', size=16 * units.Gi) as thick,
          scratch('thin', size=16 * units.Gi, beside=thick) as thin,
          scratch('other', size=6 * units.Gi, beside=thick) as other,
          tempfile.TemporaryDirectory() as folder,
          glance.running(pathlib.Path(folder),
                         f'sqlite:///{folder}/glance.sqlite') as images_url):
        thin.lvm('lvcreate', '--yes', '--type', 'thin-pool', '--name',
                 'thin-pool', '--size', '15g', thin.name)
        other.lvm('lvcreate', '--yes', '--name', 'old', '--size', '5g',
                  other.name)
        fill(pathlib.Path('/dev/other/old'), seed=7)
        other.lvm('lvremove', '--yes', 'other/old')
        backend = functools.partial(Backend, volume_driver=volume_driver)
        with CinderDeployment(
                backend(thick, ISCSI | {'volume_clear': 'zero'}, 'thick'),
                backend(thin, ISCSI | {'lvm_type': 'thin'}, 'thin'),
                backend(other, ISCSI, 'other'),
                default_options={'glance_api_servers': images_url},
                unprivileged=unprivileged) as cinder:
            yield Laboratory(cinder, images_url, {
                'thick': thick, 'thin': thin, 'other': other})


def fill(device: pathlib.Path, seed: int) -> None:
    """Fill a device with data in every other MiB, and zeros between.

    The parity of the seed decides which MiB are zeros. So if a copy over the
    data of a seed of the other parity leaves out zeros, the result differs.
    """
    zeros = bytes(units.Mi)
    with device.open('r+b', buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        for number in range(size // units.Mi):
            data = hashlib.sha256(f'{seed} {number}'.encode()).digest()
            file.write(data * (units.Mi // len(data))
                       if number % 2 == seed % 2 else zeros)
        os.fsync(file.fileno())


def digest(device: pathlib.Path, size: int) -> str:
    """Return the SHA-256 of a device's first bytes, without the page cache."""
    found = hashlib.sha256()
    with device.open('rb', buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while size > 0 and (data := file.read(min(size, 4 * units.Mi))):
            found.update(data)
            size -= len(data)
    return found.hexdigest()


class Life:
    """An LV, and the volume as which a backend manages it.

    :ivar volume: id of the volume
    :ivar snapshot: id of its snapshot, or ''
    :ivar image: id of the image that was made from it
    :ivar backup: id of its backup
    """

    _numbers = itertools.count()

    image: str
    backup: str

    def __init__(self, lab: Laboratory, backend: str, size: int) -> None:
        self.lab = lab
        self.api = lab.cinder.api
        self.backend = backend
        self.size = size
        self.gib = -(-size // units.Gi)

    @property
    def group(self) -> ScratchVolumeGroup:
        return self.lab.groups[self.backend]

    def adopt(self) -> None:
        """Make an LV with data, and manage it."""
        self.create_lv()
        self.fill()
        self.manage()
        self.check()

    def create_lv(self) -> None:
        """Make an LV of the kind that the backend's volumes are."""
        self.name = f'data-{next(self._numbers)}'
        if self.backend == 'thin':
            self.group.lvm('lvcreate', '--yes', '--name', self.name,
                           '--virtualsize', f'{self.size}b', '--thinpool',
                           'thin-pool', 'thin')
        else:
            self.group.create(self.name, f'{self.size}b')
        self.uuid = self.group.names()[self.name]

    def fill(self) -> None:
        """Fill the LV with data that no other LV has."""
        # An even seed; the old data in the group other has an odd one.
        self.seed = 2 * next(self._numbers)
        fill(self.device(self.name), self.seed)
        self.digest = digest(self.device(self.name), self.size)

    def manage(self) -> None:
        """Have Cinder manage it."""
        self.snapshot = ''
        self.volume = self.created(self.api.manage(
            {'source-name': self.name}, host=f'lab@{self.backend}'
                                             f'#{self.backend}'))

    def created(self, reply: Reply, kind: str = 'volume') -> str:
        """Return the id of what was requested, once it is available."""
        created = str(reply.body[kind]['id'])
        self.api.wait(created, 'available', kind=kind)
        return created

    def action(self, name: str, **arguments: Any) -> Any:
        """Request an action of the volume; return Cinder's answer."""
        reply = self.api.request('POST', f'volumes/{self.volume}/action',
                                 {name: arguments})
        if reply.status >= 300:
            raise RuntimeError(f'{name} {arguments}: {reply}')
        return reply.body

    def device(self, lv_name: str, group: str | None = None) -> pathlib.Path:
        return pathlib.Path('/dev', group or self.backend, lv_name)

    def check(self, volume: str | None = None) -> None:
        """Compare a volume, by default this one, with the LV's data.

        :raises RuntimeError: the data differ
        """
        volume = volume or self.volume
        shown = self.api.show(volume).body['volume']
        _, _, group = shown['os-vol-host-attr:host'].partition('#')
        path = self.device(f'volume-{volume}', group)
        if digest(path, self.size) != self.digest:
            raise RuntimeError(f'{path} has other data than the LV had')

    def lv_size(self, group: str | None = None) -> int:
        """Return the bytes of the volume's LV."""
        size, = (row['lv_size'] for row in self.lab.groups[
                     group or self.backend].report('lv_name', 'lv_size')
                 if row['lv_name'] == f'volume-{self.volume}')
        return int(size)

    def delete(self, volume: str) -> None:
        """Delete a volume, and wait until it is gone."""
        self.api.delete(volume)
        self.api.wait_until_gone(volume)

    def remove(self) -> None:
        """Remove the LVs that are left, without Cinder."""
        names = {self.name, f'volume-{self.volume}',
                 f'_snapshot-{self.snapshot}'}
        for group in self.lab.groups.values():
            for name in names & group.names().keys():
                with contextlib.suppress(RuntimeError):
                    group.lvm('lvremove', '--yes', f'{group.name}/{name}')


def attach(life: Life) -> None:
    """Attach over iSCSI, as Nova does with os-brick."""
    lockutils.set_defaults(tempfile.gettempdir())
    os_brick.setup(cfg.CONF)
    os_brick.privileged.default.set_client_mode(False)
    life.action('os-reserve')
    info = life.action('os-initialize_connection',
                       connector=_CONNECTOR)['connection_info']
    life.action('os-attach', host_name='guest', mountpoint='/dev/vdb')
    initiator = connector.InitiatorConnector.factory('ISCSI', 'sudo')
    device = initiator.connect_volume(info['data'])
    found = digest(pathlib.Path(device['path']), life.size)
    initiator.disconnect_volume(info['data'], device)
    life.action('os-terminate_connection', connector=_CONNECTOR)
    life.action('os-detach')
    life.api.wait(life.volume, 'available')
    if found != life.digest:
        raise RuntimeError('other data over iSCSI')


def snapshot(life: Life) -> None:
    """Take a snapshot, then overwrite the whole volume."""
    life.snapshot = life.created(life.api.request(
        'POST', 'snapshots', {'snapshot': {'volume_id': life.volume}}),
        'snapshot')
    fill(life.device(f'volume-{life.volume}'), life.seed + 1)
    for row in life.group.report('lv_name', 'lv_attr'):
        if row['lv_attr'][4] == 'I':
            raise RuntimeError(f"{row['lv_name']} is out of space")


def volume_from_snapshot(life: Life) -> None:
    made = life.created(life.api.create(life.gib, snapshot_id=life.snapshot))
    life.check(made)
    life.delete(made)


def revert(life: Life) -> None:
    life.action('revert', snapshot_id=life.snapshot)
    life.api.wait(life.volume, 'available')
    life.check()


def delete_snapshot(life: Life) -> None:
    life.api.request('DELETE', f'snapshots/{life.snapshot}')
    life.api.wait_until_gone(life.snapshot, 'snapshot')
    life.snapshot = ''
    life.check()


def clone(life: Life) -> None:
    made = life.created(life.api.create(life.gib, source_volid=life.volume))
    life.check(made)
    life.delete(made)


def retype(life: Life) -> None:
    name = str(uuid.uuid4())
    life.api.request('POST', 'types', {'volume_type': {'name': name}})
    life.action('os-retype', new_type=name, migration_policy='never')
    shown = life.api.wait(life.volume, 'available')
    if shown['volume_type'] != name:
        raise RuntimeError(f"its type is {shown['volume_type']}")
    life.check()


def reactivate(life: Life) -> None:
    """Deactivate the LV and autoactivate it, as a reboot does."""
    for how in ('n', 'ay'):
        life.group.lvm('lvchange', '--activate', how,
                       f'{life.backend}/volume-{life.volume}')
    life.check()


def unmanage(life: Life) -> None:
    life.api.unmanage(life.volume)
    life.api.wait_until_gone(life.volume)
    if (life.group.names()[life.name] != life.uuid
            or digest(life.device(life.name), life.size) != life.digest):
        raise RuntimeError(f'{life.name} has another UUID or other data')


def upload_to_image(life: Life) -> None:
    life.image = life.action(
        'os-volume_upload_image', image_name=life.name, disk_format='raw',
        container_format='bare')['os-volume_upload_image']['image_id']
    life.api.wait(life.volume, 'available')
    found = hashlib.sha256()
    with requests.get(f'{life.lab.images_url}/v2/images/{life.image}/file',
                      stream=True, timeout=_SECONDS) as reply:
        size = int(reply.headers.get('Content-Length', '0'))
        for data in reply.iter_content(4 * units.Mi):
            found.update(data)
    if (size, found.hexdigest()) != (life.size, life.digest):
        raise RuntimeError(f'the image has {size} bytes, or other data')


def volume_from_image(life: Life) -> None:
    made = life.created(life.api.create(life.gib, imageRef=life.image))
    life.check(made)
    life.delete(made)
    requests.delete(f'{life.lab.images_url}/v2/images/{life.image}',
                    timeout=_SECONDS)


def back_up(life: Life) -> None:
    life.backup = life.created(life.api.request(
        'POST', 'backups', {'backup': {'volume_id': life.volume}}), 'backup')
    life.api.wait(life.volume, 'available')
    life.check()


def restore(life: Life) -> None:
    """Restore the backup over other data."""
    fill(life.device(f'volume-{life.volume}'), life.seed + 1)
    _restore(life, volume_id=life.volume)
    life.check()


def volume_from_backup(life: Life) -> None:
    made = _restore(life)
    life.check(made)
    life.delete(made)
    life.api.request('DELETE', f'backups/{life.backup}')
    life.api.wait_until_gone(life.backup, 'backup')


def _restore(life: Life, **where: str) -> str:
    """Restore the backup; return the ID of the volume with its data."""
    reply = life.api.request('POST', f'backups/{life.backup}/restore',
                             {'restore': where})
    restored = str(reply.body['restore']['volume_id'])
    life.api.wait(life.backup, 'available', kind='backup')
    life.api.wait(restored, 'available')
    return restored


def extend(life: Life) -> None:
    life.action('os-extend', new_size=life.gib + 1)
    life.api.wait(life.volume, 'available')
    life.check()
    if life.lv_size() != (life.gib + 1) * units.Gi:
        raise RuntimeError(f'its LV has {life.lv_size()} bytes')


def _migrate(life: Life, backend: str) -> None:
    life.action('os-migrate_volume', host=f'lab@{backend}#{backend}')

    def has_arrived() -> bool:
        shown = life.api.show(life.volume).body['volume']
        if shown['migration_status'] == 'error':
            raise RuntimeError('migration_status is error')
        host: str = shown['os-vol-host-attr:host']
        return host.startswith(f'lab@{backend}#')

    polling.wait_for(f'a migration to {backend}', has_arrived,
                     seconds=_SECONDS, pause=tenacity.wait_fixed(2))
    life.api.wait(life.volume, 'available')
    life.check()


def migrate(life: Life) -> None:
    _migrate(life, 'other')


def migrate_back(life: Life) -> None:
    _migrate(life, life.backend)


def delete(life: Life) -> None:
    """Delete the volume; if Cinder clears it, check that it is zeros."""
    ranges = [row['seg_pe_ranges'] for row in life.group.report(
                  'lv_name', 'seg_pe_ranges')
              if row['lv_name'] == f'volume-{life.volume}']
    life.delete(life.volume)
    if life.backend != 'thick':
        return
    life.group.lvm('lvcreate', '--yes', '--wipesignatures', 'n', '--zero', 'n',
                   '--name', 'probe', '--size', f'{life.size}b', 'thick',
                   *ranges)
    found = digest(life.device('probe'), life.size)
    life.group.lvm('lvremove', '--yes', 'thick/probe')
    if found != digest(pathlib.Path('/dev/zero'), life.size):
        raise RuntimeError('its extents are not cleared')


# The operations of a row follow one another on the same LV.
OPERATIONS: tuple[tuple[Callable[[Life], None], ...], ...] = (
    (attach, snapshot, volume_from_snapshot, revert, delete_snapshot),
    (clone, retype, reactivate, unmanage),
    (extend,),
    (migrate, migrate_back),
    (delete,))
# The data passes through an API or is compressed: minutes for a GiB.
SLOW_OPERATIONS = ((upload_to_image, volume_from_image),
                   (back_up, restore, volume_from_backup))
_SIZES_FOR_SLOW_OPERATIONS = (SIZES['4 MiB'], SIZES['1 GiB + 4 MiB'])


class Step(NamedTuple):
    """An operation on an adopted volume.

    :ivar operation: its name
    :ivar failure: what went wrong; '' if nothing did
    """

    operation: str
    seconds: float
    failure: str


NOT_TRIED = 'not tried'


def live(lab: Laboratory, backend: str, size: int) -> Iterator[Step]:
    """Do every operation on adopted LVs of this size.

    After a failure, the volume's state does not allow the operations that
    follow, so they are left out.
    """
    slow = SLOW_OPERATIONS if size in _SIZES_FOR_SLOW_OPERATIONS else ()
    for row in OPERATIONS + slow:
        life = Life(lab, backend, size)
        failure = ''
        for operation in (Life.adopt, *row):
            started = time.monotonic()
            failure = NOT_TRIED if failure else _failure(life, operation)
            yield Step(operation.__name__, time.monotonic() - started, failure)
        life.remove()


def _failure(life: Life, operation: Callable[[Life], None]) -> str:
    logged = len(life.lab.cinder.log_text())
    try:
        operation(life)
    except Exception as exc:  # noqa: BLE001
        # Cinder's log has the cause, which its answers lack.
        causes = re.findall(r'^(?:Stderr: |.*(?:Error|Exception|Busy): )(.+)',
                            life.lab.cinder.log_text()[logged:], re.MULTILINE)
        return f'{exc}; {causes[-1] if causes else ""}'
    return ''
