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

"""An operator adopts 300 disks of another hypervisor, and releases them.

`python -m tests.shows.adoption_session [--lvs NUMBER] FOLDER`, as root, from
the top of the checkout. It prints the commands of doc/source/adopt-many.rst
with their output and the seconds that they take, and writes pictures of the
terminal and the report into the folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import tempfile
import time

from tests.lab import keystone
from tests.lab import signals
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.device_nodes import device_nodes
from tests.lab.metadata import EXTENT
from tests.lab.metadata import linear
from tests.lab.metadata import logical_volume
from tests.lab.metadata import logical_volumes
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import SCRIPTS
from tests.lab.terminal import Picture
from tests.lab.terminal import Terminal
from tests.lab.volume_api import wait_for_pools
from tests.unit.contents import recorded

_LVS = 300
_READ_ONLY = 4
_GIB = 1024 ** 3
_HOST = "--host 'lab@lvm#lvm'"
_ADOPTION = 'openstack volume adoption'
# For each disk of a guest: its size, and samples of what it may contain.
_DISKS = ((32 * _GIB, ('gpt-efi', 'gpt-bios-efi', 'mbr')),
          (20 * _GIB + EXTENT, ('ext4', 'xfs', 'ntfs', 'ext4', 'lvm')),
          (4 * _GIB, ('swap',)))
# Every so many disks contain a qcow2 image.
_IMAGE_EVERY = 60


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk of a guest of Proxmox VE.

    :ivar size: in bytes
    :ivar sample: the name of what it contains
    """

    name: str
    tag: str
    size: int
    sample: str
    read_only: bool


def disks(count: int) -> Iterator[Disk]:
    """Yield the disks of guests with three each."""
    for number in range(count):
        guest, disk = divmod(number, len(_DISKS))
        size, samples = _DISKS[disk]
        yield Disk(
            f'vm-{101 + guest}-disk-{disk}', f'pve-vm-{101 + guest}', size,
            'qcow2' if number % _IMAGE_EVERY == 1
            else samples[guest % len(samples)],
            number >= count - _READ_ONLY)


@contextlib.contextmanager
def _group(count: int) -> Iterator[ScratchVolumeGroup]:
    """A group with these disks, and device nodes by which they are read."""
    with ScratchVolumeGroup('pve') as group, device_nodes(group) as nodes:
        texts, first = [], 0
        for disk in disks(count):
            extents = disk.size // EXTENT
            texts.append(logical_volume(
                disk.name, linear(first, extents), tags=[disk.tag],
                status=['READ', *([] if disk.read_only else ['WRITE']),
                        'VISIBLE']))
            first += extents
        group.restore(logical_volumes(texts))
        for disk in disks(count):
            node = nodes.create(disk.name)
            with node.open('r+b') as device:
                device.write(recorded(disk.sample).head)
        yield group


class Session:
    """What the operator does, and what the terminal shows."""

    def __init__(self, terminal: Terminal, folder: pathlib.Path) -> None:
        self._terminal = terminal
        self._folder = folder
        self._seen: Picture | None = None

    def run(self, line: str, status: int = 0, head: int = 12, tail: int = 6,
            interrupt_at: int = 0) -> Picture:
        """Run a command line of the page, and print its output.

        :param status: the exit status that it must have
        :param head, tail: lines of its output that the picture has
        :param interrupt_at: press Ctrl-C when so many volumes are complete;
            0 for never
        """
        interrupted: list[bool] = []

        def watch(lines: list[str], pid: int) -> None:
            bar = re.search(r' (\d+)/\d+$', '\n'.join(lines), re.MULTILINE)
            if (interrupt_at and not interrupted and bar
                    and int(bar[1]) >= interrupt_at):
                interrupted.append(True)
                self._folder.joinpath('applying.txt').write_text(
                    '\n'.join(lines))
                os.killpg(pid, signal.SIGINT)

        ended, picture, seconds = self._terminal.run(line, watch)
        print(f'{picture}\n# exit status {ended}, {seconds:.1f} seconds\n',
              flush=True)
        if ended != status:
            raise SystemExit(f'exit status {ended}, not {status}')
        short = picture.abridged(head, tail)
        self._seen = self._seen + short if self._seen else short
        return picture

    def draw(self, name: str, title: str) -> None:
        """Write a picture of what has been seen since the last one."""
        if self._seen:
            (self._folder / name).write_text(self._seen.svg(title))
        self._seen = None


def _walk(session: Session, count: int) -> None:
    session.run(f"{_ADOPTION} list {_HOST} --match 'vm-10[12]-*'", head=20)
    session.run(f'{_ADOPTION} list {_HOST} --unsafe', head=20)
    session.run(f'{_ADOPTION} show {_HOST} vm-101-disk-0', head=40)
    session.draw('adopt-many-list.svg', 'List')
    session.run(
        f'{_ADOPTION} plan {_HOST} --owner "Proxmox*" --project web '
        '--image-property hw_disk_bus=scsi --output plan.yaml')
    session.run(f'{_ADOPTION} apply plan.yaml --dry-run')
    session.run(f'{_ADOPTION} apply plan.yaml --parallel 8', status=130,
                interrupt_at=count // 3)
    session.run(f'{_ADOPTION} status plan.yaml', head=40)
    session.run(f'{_ADOPTION} apply plan.yaml --parallel 8')
    session.run(f'{_ADOPTION} status plan.yaml', head=40)
    session.run(f'{_ADOPTION} audit {_HOST}')
    session.run(f"{_ADOPTION} report plan.yaml --title 'Guests of pve1' "
                '--html report.html --markdown report.md')
    session.draw('adopt-many-apply.svg', 'Plan, apply, resume, report')
    session.run(f'{_ADOPTION} undo plan.yaml.journal --parallel 8 --yes')
    session.draw('adopt-many-undo.svg', 'Undo')


def main(count: int, folder: pathlib.Path) -> None:
    """Print the session, and write the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with (tempfile.TemporaryDirectory() as scratch, _group(count) as group,
          keystone.running(pathlib.Path(scratch),
                           f'sqlite:///{scratch}/keystone.sqlite'
                           ) as identity,
          CinderDeployment(
              Backend(group, {'lvm_manage_without_device_mapper': 'true'}),
              default_options={'auth_strategy': 'keystone'},
              sections={'keystone_authtoken': identity.conf()}) as cinder):
        url = cinder.url.rpartition('/')[0]
        wait_for_pools(lambda: identity.admin.get(
            f'{url}/scheduler-stats/get_pools').json(), 1)
        identity.offer('block-storage', 'cinder', url)
        web = identity.make('project', name='web')
        identity.grant('admin', str(identity.admin.get_user_id()), web)
        before = group.names()
        started = time.monotonic()
        _walk(Session(Terminal(
            {**os.environ, **identity.credentials,
             'PATH': f"{SCRIPTS}:{os.environ['PATH']}",
             'PYTHONWARNINGS': 'ignore'}, str(folder)), folder), count)
        print(f'names as before: {group.names() == before}; '
              f'{time.monotonic() - started:.0f} seconds for all commands')


if __name__ == '__main__':
    signals.unwind_when_stopped()
    parser = argparse.ArgumentParser()
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('--lvs', type=int, default=_LVS)
    arguments = parser.parse_args()
    main(arguments.lvs, arguments.folder.resolve())
