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


"""The life of an adopted volume: all that Cinder offers, for LVs of any size.

`python -m tests.shows.life` prints a table of what this driver and Cinder's
own do with the same LVs; tests/device_mapper asserts this driver's half. Needs
device-mapper, root, and tgtd and iscsid running.
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
import sys
import tempfile
import time
from typing import Any
import uuid

import os_brick
from os_brick.initiator import connector
import os_brick.privileged
from oslo_concurrency import lockutils
from oslo_config import cfg
from oslo_utils import units
import requests

from tests.lab import glance
from tests.lab import signals
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.deployment import ISCSI
from tests.lab.deployment import Reply
from tests.lab.scratch import ScratchVolumeGroup

OURS = 'cinder_lvm_manage.driver.LVMManageDriver'
IN_TREE = 'cinder.volume.drivers.lvm.LVMVolumeDriver'

SIZES = {'4 MiB': 4 * units.Mi, '1 GiB': units.Gi,
         '1 GiB + 4 MiB': units.Gi + 4 * units.Mi,
         '1.5 GiB': 3 * units.Gi // 2}

_CONNECTOR = {'ip': '127.0.0.1', 'host': 'guest', 'multipath': False,
              'initiator': 'iqn.2026-01.guest:initiator'}
_SECONDS = 900


@dataclasses.dataclass(frozen=True)
class Laboratory:
    """A Cinder with a thick backend, a thin one, and one to migrate to.

    The groups are named as the backends; volume_clear is zero in the first
    and none in the last, which is thick and holds old data where it is free.

    :ivar images_url: Glance's, which needs no token
    """

    cinder: CinderDeployment
    images_url: str
    groups: dict[str, ScratchVolumeGroup]


@contextlib.contextmanager
def laboratory(volume_driver: str = OURS,
               unprivileged: bool = False) -> Iterator[Laboratory]:
    """Start it all, and stop it.

    :param unprivileged: Cinder may do no more than its packages let it
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
    """Write data into every other MiB and zeros between, the device over.

    Which are zeros depends on the seed's parity: who leaves out zeros when he
    copies one seed's data over another's is found out.
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
    """The SHA-256 of the device's first bytes, read from the device."""
    found = hashlib.sha256()
    with device.open('rb', buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while size > 0 and (data := file.read(min(size, 4 * units.Mi))):
            found.update(data)
            size -= len(data)
    return found.hexdigest()


class Life:
    """One LV after another of the same size, adopted by a backend.

    :ivar volume: id of the volume that has the LV now
    :ivar snapshot: id of its snapshot, if it has one
    :ivar image: id of the image that was made of it
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

    def begin(self) -> None:
        """Make an LV, fill it, and manage it."""
        self.create_lv()
        self.fill()
        self.manage()
        self.check()

    def create_lv(self) -> None:
        """Make an LV as the backend's volumes are."""
        self.name = f'data-{next(self._numbers)}'
        if self.backend == 'thin':
            self.group.lvm('lvcreate', '--yes', '--name', self.name,
                           '--virtualsize', f'{self.size}b', '--thinpool',
                           'thin-pool', 'thin')
        else:
            self.group.create(self.name, f'{self.size}b')
        self.uuid = self.group.names()[self.name]

    def fill(self) -> None:
        """Fill it with data that no other has."""
        # Even, where that of the old data in other is odd.
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
        """The id of what was asked for, once it is available."""
        created = str(reply.body[kind]['id'])
        self.api.wait(created, 'available', kind=kind)
        return created

    def action(self, name: str, **arguments: Any) -> Any:
        """Do this to the volume; what Cinder answers."""
        reply = self.api.request('POST', f'volumes/{self.volume}/action',
                                 {name: arguments})
        if reply.status >= 300:
            raise RuntimeError(f'{name} {arguments}: {reply}')
        return reply.body

    def device(self, lv_name: str, group: str | None = None) -> pathlib.Path:
        return pathlib.Path('/dev', group or self.backend, lv_name)

    def check(self, volume: str | None = None) -> None:
        """:raises RuntimeError: the volume has not the LV's data"""
        volume = volume or self.volume
        shown = self.api.show(volume).body['volume']
        _, _, group = shown['os-vol-host-attr:host'].partition('#')
        path = self.device(f'volume-{volume}', group)
        if digest(path, self.size) != self.digest:
            raise RuntimeError(f'{path} has other data')

    def lv_size(self, group: str | None = None) -> int:
        """How long the volume's LV is, in bytes."""
        size, = (row['lv_size'] for row in self.lab.groups[
                     group or self.backend].report('lv_name', 'lv_size')
                 if row['lv_name'] == f'volume-{self.volume}')
        return int(size)

    def delete(self, volume: str) -> None:
        """Delete a volume and see it gone."""
        self.api.delete(volume)
        self.api.wait_until_gone(volume)

    def remove(self) -> None:
        """Take what is left out of the groups, whatever Cinder says."""
        names = {self.name, f'volume-{self.volume}',
                 f'_snapshot-{self.snapshot}'}
        for group in self.lab.groups.values():
            for name in names & group.names().keys():
                with contextlib.suppress(RuntimeError):
                    group.lvm('lvremove', '--yes', f'{group.name}/{name}')


def attach(life: Life) -> None:
    """Over iSCSI, as os-brick does it for Nova."""
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
    """Take one, then write all of the volume anew."""
    life.snapshot = life.created(life.api.request(
        'POST', 'snapshots', {'snapshot': {'volume_id': life.volume}}),
        'snapshot')
    fill(life.device(f'volume-{life.volume}'), life.seed + 1)
    for row in life.group.report('lv_name', 'lv_attr'):
        if row['lv_attr'][4] == 'I':
            raise RuntimeError(f"{row['lv_name']} has overflowed")


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
    """What a reboot does to the LV."""
    for how in ('n', 'ay'):
        life.group.lvm('lvchange', '--activate', how,
                       f'{life.backend}/volume-{life.volume}')
    life.check()


def unmanage(life: Life) -> None:
    life.api.unmanage(life.volume)
    life.api.wait_until_gone(life.volume)
    if (life.group.names()[life.name] != life.uuid
            or digest(life.device(life.name), life.size) != life.digest):
        raise RuntimeError(f'{life.name} is not as it was')


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
    """Over other data."""
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
    """The id of the volume that has what was backed up."""
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
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        shown = life.api.show(life.volume).body['volume']
        if shown['migration_status'] == 'error':
            raise RuntimeError('migration_status is error')
        if shown['os-vol-host-attr:host'].startswith(f'lab@{backend}#'):
            life.api.wait(life.volume, 'available')
            life.check()
            return
        time.sleep(2)
    raise RuntimeError(f'it is not migrated: {shown}')


def migrate(life: Life) -> None:
    _migrate(life, 'other')


def migrate_back(life: Life) -> None:
    _migrate(life, life.backend)


def delete(life: Life) -> None:
    """And see that nothing of the data is left where it has to be cleared."""
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
        raise RuntimeError('the data is still there')


# Those of a row are done to the same LV, one after the other.
OPERATIONS: tuple[tuple[Callable[[Life], None], ...], ...] = (
    (attach, snapshot, volume_from_snapshot, revert, delete_snapshot),
    (clone, retype, reactivate, unmanage),
    (extend,),
    (migrate, migrate_back),
    (delete,))
# All of the data goes through an API, or is packed: some minutes for a GiB.
SLOW_OPERATIONS = ((upload_to_image, volume_from_image),
                   (back_up, restore, volume_from_backup))
_SIZES_FOR_SLOW_ONES = (SIZES['4 MiB'], SIZES['1 GiB + 4 MiB'])


def live(lab: Laboratory, backend: str, size: int) -> dict[str, str]:
    """What came of each operation: '' or what went wrong, in a few words.

    Printed as it comes, for it takes long.
    """
    outcome: dict[str, str] = {}
    slow = SLOW_OPERATIONS if size in _SIZES_FOR_SLOW_ONES else ()
    for row in OPERATIONS + slow:
        life = Life(lab, backend, size)
        wrong = _outcome(life, Life.begin)
        outcome.setdefault('adopt', wrong)
        for operation in row:
            # After one that failed the volume is in no state for the next.
            start = time.monotonic()
            wrong = 'not tried' if wrong else _outcome(life, operation)
            outcome[operation.__name__] = wrong
            print(f'{backend} {size} {operation.__name__} '
                  f'{time.monotonic() - start:.0f} s {wrong}', flush=True)
        life.remove()
    return outcome


def _outcome(life: Life, operation: Callable[[Life], None]) -> str:
    logged = len(life.lab.cinder.log_text())
    try:
        operation(life)
    except Exception as exc:  # noqa: BLE001
        # What Cinder tells its log says more than what it answers.
        causes = re.findall(r'^(?:Stderr: |.*(?:Error|Exception|Busy): )(.+)',
                            life.lab.cinder.log_text()[logged:], re.MULTILINE)
        return f'{exc}; {causes[-1] if causes else ""}'
    return ''


def main(*names: str) -> None:
    """Print the table, and below it what went wrong where.

    :param names: of SIZES; all if there are none
    """
    outcomes: dict[tuple[str, str, str], dict[str, str]] = {}
    for driver in (OURS, IN_TREE):
        print(driver)
        with laboratory(driver) as lab:
            for backend in ('thick', 'thin'):
                for name in names or SIZES:
                    outcomes[driver, backend, name] = live(
                        lab, backend, SIZES[name])
    print(f"\n{'':21}{'ours':16}in-tree")
    for backend in ('thick', 'thin'):
        for operation in outcomes[OURS, backend, (names or [*SIZES])[0]]:
            cells = [[{'': 'ok', 'not tried': '-'}.get(
                outcomes[driver, backend, name].get(operation, 'not tried'),
                'FAIL')
                for name in names or SIZES] for driver in (OURS, IN_TREE)]
            print(f'{backend:6}{operation:22}'
                  + '   '.join(''.join(f'{cell:5}' for cell in row)
                               for row in cells))
    for (driver, backend, name), outcome in outcomes.items():
        for operation, wrong in outcome.items():
            if wrong not in ('', 'not tried'):
                print(driver.rpartition('.')[2], backend, name, operation,
                      wrong, sep=': ')


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main(*sys.argv[1:])
