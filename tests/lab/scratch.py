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

"""ScratchVolumeGroup: a real volume group on loop devices of its own.

By default its LVs are never activated. It then needs no device-mapper, so it
works on any kernel, and vgcfgrestore can add LVs of any kind.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import json
import os
import pathlib
import re
import subprocess
import tempfile

from oslo_utils import units

from tests.lab.metadata import linear
from tests.lab.metadata import logical_volume
from tests.lab.metadata import logical_volumes

_LVM_CONF = """
global {{
    activation = {activation}
    locking_dir = "{folder}/lock"
}}
devices {{
    use_devicesfile = 0
    hints = "none"
    scan_lvs = 0
    global_filter = [ "r|.*|" ]
}}
activation {{
    monitoring = 0
}}
backup {{
    backup = 0
    archive = 0
}}
"""


_UDEVD_SOCKET = pathlib.Path('/run/udev/control')

# The end of global_filter: LVM ignores every other device.
_REST = '"r|.*|" ]'


class ScratchVolumeGroup:
    """A context manager; needs root and the packages of bindep.txt.

    :ivar name: of the volume group
    :ivar device_mapper: whether LVs are activated
    :ivar lvm_conf: path of its lvm.conf
    :ivar physical_volumes: their devices
    :ivar environment: the variables with which a process sees the group
    """

    def __init__(self, name: str = 'scratch', physical_volumes: int = 1,
                 size: int = 8 * units.Ti, device_mapper: bool = False,
                 breakable: bool = False, metadata_size: str = '256m',
                 beside: ScratchVolumeGroup | None = None) -> None:
        """Describe the group that `with` makes.

        :param size: of each physical volume, in bytes; the files are sparse
        :param device_mapper: activate LVs, which the kernel must support
        :param breakable: allow broken_physical_volume()
        :param metadata_size: of pvcreate; by default, enough for 50,000 LVs
        :param beside: a group whose lvm.conf this one shares
        """
        self.name = name
        self._count = physical_volumes
        self._size = size
        self.device_mapper = device_mapper
        self._breakable = breakable
        self._metadata_size = metadata_size
        self._beside = beside
        self._cleanup = contextlib.ExitStack()
        self.physical_volumes: list[str] = []

    def __enter__(self) -> ScratchVolumeGroup:
        with contextlib.ExitStack() as cleanup:
            folder = pathlib.Path(
                cleanup.enter_context(tempfile.TemporaryDirectory()))
            for number in range(self._count):
                self.physical_volumes.append(
                    self._attach(folder / f'pv{number}', cleanup))
            if self._beside:
                self.lvm_conf: pathlib.Path = self._beside.lvm_conf
                self.environment: dict[str, str] = self._beside.environment
            else:
                self.lvm_conf = folder / 'lvm.conf'
                self.lvm_conf.write_text(_LVM_CONF.format(
                    folder=folder, activation=int(self.device_mapper)))
                self.environment = {'LVM_SYSTEM_DIR': str(folder),
                                    'LVM_SUPPRESS_FD_WARNINGS': '1',
                                    'LC_ALL': 'C'}
            for device in self.physical_volumes:
                self._filter(_REST, f'"a|^{device}$|", {_REST}')
                cleanup.callback(self._filter, f'"a|^{device}$|", ', '')
            self.lvm('pvcreate', '--metadatasize', self._metadata_size,
                     *self.physical_volumes)
            self.lvm('vgcreate', self.name, *self.physical_volumes)
            cleanup.callback(self._deactivate)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()

    def _deactivate(self) -> None:
        if self.device_mapper:
            self.lvm('vgchange', '--activate', 'n', self.name)

    def _attach(self, image: pathlib.Path,
                cleanup: contextlib.ExitStack) -> str:
        with image.open('wb') as file:
            file.truncate(self._size)
        # Registered first, because an interrupt may come during losetup.
        cleanup.callback(_detach, image)
        device = _output('losetup', '--find', '--show', str(image)).strip()
        # The kernel detaches it when no process has it open any more, even
        # if this process is killed.
        cleanup.callback(os.close, os.open(device, os.O_RDONLY))
        _detach(image)
        if not self._breakable:
            return device
        name = f'{self.name}-{image.name}'
        _output('dmsetup', 'create', name, '--table',
                f'0 {self._size // 512} linear {device} 0')
        cleanup.callback(_output, 'dmsetup', 'remove', name)
        return f'/dev/mapper/{name}'

    @contextlib.contextmanager
    def broken_physical_volume(self) -> Iterator[None]:
        """Let the last physical volume fail each read and write."""
        name = pathlib.Path(self.physical_volumes[-1]).name
        table = _output('dmsetup', 'table', name)
        for loaded in (f'0 {self._size // 512} error', table):
            _output('dmsetup', 'suspend', '--noflush', name)
            _output('dmsetup', 'load', name, '--table', loaded)
            _output('dmsetup', 'resume', name)
            if loaded != table:
                yield

    @contextlib.contextmanager
    def configured(self, *settings: str) -> Iterator[None]:
        """Add settings to lvm.conf, such as report/prefixes=1."""
        text = self.lvm_conf.read_text()
        self.lvm_conf.write_text('\n'.join((text, *settings, '')))
        try:
            yield
        finally:
            self.lvm_conf.write_text(text)

    def lvm(self, *command: str) -> str:
        """Run an LVM command, and return its output.

        :raises RuntimeError: the command failed
        """
        printed = _output(*command, environment=self.environment)
        if self.device_mapper and _UDEVD_SOCKET.exists():
            # udevd probes each LV that was written to. Until it is done, the
            # LV is open; and a suspended LV would block udevd.
            _output('udevadm', 'settle')
        return printed

    def create(self, lv_name: str, size: str) -> None:
        """Make a linear LV of a size such as 4m or 1g."""
        self.lvm('lvcreate', '--yes', '--name', lv_name, '--size', size,
                 self.name)

    def report(self, *fields: str) -> list[dict[str, str]]:
        """Return the fields that lvs reports of every LV, hidden ones too."""
        printed = self.lvm('lvs', '--all', '--reportformat', 'json',
                           '--units', 'b', '--nosuffix',
                           '--options', ','.join(fields), self.name)
        rows: list[dict[str, str]] = json.loads(printed)['report'][0]['lv']
        return rows

    def names(self) -> dict[str, str]:
        """Return the UUID of each LV by its name."""
        return {row['lv_name'].strip('[]'): row['lv_uuid']
                for row in self.report('lv_name', 'lv_uuid')}

    def tags(self, lv_name: str) -> set[str]:
        """Return the tags of an LV."""
        tags, = (row['lv_tags'] for row in self.report('lv_name', 'lv_tags')
                 if row['lv_name'] == lv_name)
        return set(filter(None, tags.split(',')))

    def extents(self, lv_uuid: str) -> tuple[str, int, int]:
        """Find the data of a linear LV, which need not be active.

        :returns: the physical volume's device, the offset there and the size,
            in bytes
        :raises LookupError: no LV has this UUID
        """
        rows = json.loads(self.lvm(
            'pvs', '--segments', '--reportformat', 'json', '--units', 'b',
            '--nosuffix', '--select', f'vg_name={self.name}', '--options',
            'pv_name,pe_start,pvseg_start,pvseg_size,vg_extent_size,lv_uuid'
        ))['report'][0]['pvseg']
        for row in rows:
            if row['lv_uuid'] == lv_uuid:
                extent = int(row['vg_extent_size'])
                first = int(row['pe_start']) + int(row['pvseg_start']) * extent
                return row['pv_name'], first, int(row['pvseg_size']) * extent
        raise LookupError(f'no LV has the UUID {lv_uuid}')

    def changes(self) -> int:
        """Return the metadata's sequence number; each change increases it."""
        return int(self.lvm('vgs', '--noheadings', '--options', 'vg_seqno',
                            self.name))

    def metadata(self) -> str:
        """Return the group's metadata as vgcfgbackup writes it."""
        path = self.lvm_conf.with_name('backup.vg')
        self.lvm('vgcfgbackup', '--file', str(path), self.name)
        return path.read_text()

    def replace_metadata(self, metadata: str) -> None:
        """Replace the group's metadata with vgcfgrestore."""
        path = self.lvm_conf.with_name('restore.vg')
        path.write_text(metadata)
        self.lvm('vgcfgrestore', '--force', '--file', str(path), self.name)

    def restore(self, section: str) -> None:
        """Add a section `logical_volumes { ... }` to an empty group."""
        text = self.metadata()
        end = text.rindex('}')
        self.replace_metadata(text[:end] + section + text[end:])

    def edit(self, pattern: str, replacement: str) -> None:
        """Change the group's metadata by a regular expression."""
        text, count = re.subn(pattern, replacement, self.metadata())
        if count == 0:
            raise ValueError(f'{pattern!r} not found in the metadata')
        self.replace_metadata(text)

    def populate(self, count: int,
                 name: Callable[[int], str] = 'lv-{:05}'.format) -> None:
        """Add linear LVs of 12 MiB to an empty group.

        :param name: returns the name for a number
        """
        self.restore(logical_volumes(
            logical_volume(name(number), linear(3 * number, 3))
            for number in range(count)))

    def lose_physical_volume(self) -> None:
        """Hide the last physical volume, as if its disk were missing."""
        self._filter(f'"a|^{self.physical_volumes[-1]}$|", ', '')

    def _filter(self, old: str, new: str) -> None:
        text = self.lvm_conf.read_text()
        self.lvm_conf.write_text(text.replace(old, new))


def _detach(image: pathlib.Path) -> None:
    for device in _associated(image):
        try:
            _output('losetup', '--detach', device)
        except RuntimeError:
            # The kernel may just have detached it.
            if device in _associated(image):
                raise


def _associated(image: pathlib.Path) -> list[str]:
    return _output('losetup', '--noheadings', '--output', 'NAME',
                   '--associated', str(image)).split()


def _output(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=os.environ | (environment or {}),
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command)}` exited with "
                           f'{done.returncode}: {done.stderr}')
    return done.stdout
