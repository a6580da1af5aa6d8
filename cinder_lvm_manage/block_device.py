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

"""Who holds a block device open, and the command that releases it.

This reads what the kernel shows to every user in /proc, /sys and configfs. It
shows only root which files a process has open, so the caller provides that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import errno
import os
import pathlib
import re
import shlex
import stat
from typing import NamedTuple

from oslo_log import log as logging

LOG = logging.getLogger(__name__)

_PROC = pathlib.Path('/proc')
_DEVICES = pathlib.Path('/sys/dev/block')
_BLOCK = pathlib.Path('/sys/block')
_CONFIGFS = pathlib.Path('/sys/kernel/config')

# Errors of reading a kernel file whose object has been removed.
_GONE = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ESRCH}


@dataclasses.dataclass(frozen=True)
class User:
    """Something that holds a block device open, in printable characters.

    :ivar what: describes it, such as 'mounted on /srv'
    :ivar release: the command, in backquotes, or the step that closes the
        device
    """

    what: str
    release: str


class OpenFiles(NamedTuple):
    """What the processes of this host have open, as root sees it.

    :ivar lines: `/proc/PID/fd/N MAJOR:MINOR`, in hexadecimal, for each block
        device; `/proc/PID/mountinfo:` and proc(5)'s line for each mount
    :ivar complete: False if some of it could not be read
    """

    lines: Collection[str]
    complete: bool


# Only tgtd itself knows which of its targets exports the device.
_TGTD_RELEASE = ('find its target with `tgt-admin --show`, then `tgt-admin '
                 '--delete TARGET`')

_UNDETERMINED = User('held by something that could not be determined',
                     'run `fuser -v` as root on its device and stop the '
                     'processes that it shows')


def users(devices: Iterable[str],
          open_files: Callable[[Collection[str]], OpenFiles]
          ) -> dict[str, tuple[User, ...]]:
    """Return the users of each device, in the order in which to release them.

    :param devices: major:minor of each
    :param open_files: called at most once, with the devices that have no
        other known user
    :returns: users by device; none for a device whose user this host cannot
        see, such as a process of another PID namespace
    """
    wanted = sorted(set(devices))
    if not wanted:
        return {}
    uses = _Uses()
    found = {device: uses.of(device) for device in wanted}
    unknown = [device for device in wanted if not found[device]]
    if unknown:
        lines, complete = open_files(unknown)
        uses.add(_processes(lines))
        for device in unknown:
            found[device] = (uses.of(device)
                             or (() if complete else (_UNDETERMINED,)))
    return found


def is_read_only(device: str) -> bool:
    """Return whether the kernel refuses writes to this device.

    :param device: major:minor; False for one that the kernel does not have
    """
    try:
        return _DEVICES.joinpath(device, 'ro').read_text().strip() == '1'
    except FileNotFoundError:
        return False


class _Use(NamedTuple):
    """A user of a device.

    :ivar on_top: major:minor of the device that it stacks on it, if any
    """

    device: str
    what: str
    release: str
    on_top: str = ''


class _Uses:
    """The uses of all devices; the host is read once."""

    def __init__(self) -> None:
        self._by_device: dict[str, list[_Use]] = defaultdict(list)
        for read in (_mounts, _swaps, _loops, _backstores, _namespaces):
            self.add(read())

    def add(self, uses: Iterable[_Use]) -> None:
        for use in uses:
            self._by_device[use.device].append(use)

    def of(self, device: str) -> tuple[User, ...]:
        """Return the device's users; those of devices stacked on it first."""
        return tuple(dict.fromkeys(self._of(device)))

    def _of(self, device: str, *below: str) -> Iterator[User]:
        via = f' via {_node(device)}' if below else ''
        for use in [*self._by_device[device], *_holders(device)]:
            # qemu-nbd also opens the device that it provides.
            if use.on_top in (device, *below):
                continue
            if use.on_top:
                for stacked in (use.on_top, *_partitions(use.on_top)):
                    yield from self._of(stacked, device, *below)
            yield User(_printable(use.what + via), _printable(use.release))


def _mounts() -> Iterator[_Use]:
    # A mount can cover or contain an earlier one: the last is released first.
    for line in reversed(_lines(_PROC / 'self' / 'mountinfo')):
        device, point = _mount(line)
        yield _Use(device, f'mounted on {point}', _command('umount', point))


def _swaps() -> Iterator[_Use]:
    for line in _lines(_PROC / 'swaps')[1:]:
        path = _unescaped(line.partition(' ')[0])
        if device := number(path):
            yield _Use(device, 'used as swap', _command('swapoff', path))


def _loops() -> Iterator[_Use]:
    for file in sorted(_BLOCK.glob('loop*/loop/backing_file')):
        if device := number(_read(file)):
            loop = file.parents[1]
            yield _Use(device, f'held by loop device /dev/{loop.name}',
                       _command('losetup', '--detach', f'/dev/{loop.name}'),
                       _read(loop / 'dev'))


def _backstores() -> Iterator[_Use]:
    """Yield what LIO, the kernel's SCSI target, exports."""
    target = _CONFIGFS / 'target'
    exports = defaultdict(list)
    for link in sorted(target.glob('*/*/tpgt_*/lun/lun_*/*')):
        if link.is_symlink():
            lun = link.parent
            number = lun.name.removeprefix('lun_')
            exports[link.resolve()].append(
                f'LUN {number} of {lun.parents[2].name}')
    for kind, plugin in (('block', 'iblock'), ('fileio', 'fileio')):
        for info in sorted(target.glob(f'core/{plugin}_*/*/info')):
            if device := _backing_device(_read(info)):
                store = info.parent
                exported = exports[store.resolve()]
                yield _Use(
                    device,
                    f'held by LIO backstore {kind}/{store.name}'
                    + ''.join(f', exported as {lun}' for lun in exported),
                    _command('targetcli', f'/backstores/{kind}', 'delete',
                             store.name))


def _backing_device(info: str) -> str:
    # As the kernel's target_core_iblock.c and target_core_file.c print it.
    numbers = re.findall(r'\sMajor:\s(\d+)\sMinor:\s(\d+)', info)
    if numbers:
        return ':'.join(numbers[-1])
    file = re.search(r'\sFile:\s(.+)\s\sSize:\s\d+\s\sMode:', info, re.DOTALL)
    return number(file[1]) if file else ''


def _namespaces() -> Iterator[_Use]:
    """Yield what nvmet, the kernel's NVMe target, exports."""
    for path in sorted(_CONFIGFS.glob(
            'nvmet/subsystems/*/namespaces/*/device_path')):
        namespace = path.parent
        enabled = namespace / 'enable'
        if _read(enabled) == '1' and (device := number(_read(path))):
            yield _Use(device,
                       f'exported by nvmet as namespace {namespace.name} of '
                       f'{namespace.parents[1].name}',
                       f'`echo 0 > {_quoted(str(enabled))}`')


def _holders(device: str) -> Iterator[_Use]:
    for holder in sorted(_DEVICES.joinpath(device).glob('holders/*')):
        name = _read(holder / 'dm' / 'name')
        what, release = (
            _mapping(device, name, _read(holder / 'dm' / 'uuid')) if name
            else _driver_device(holder))
        yield _Use(device, f'held by {what}', release, _read(holder / 'dev'))


def _mapping(device: str, name: str, uuid: str) -> tuple[str, str]:
    """Return what a device-mapper device is, by its UUID, and its release."""
    match re.split(r'\d*-', uuid)[0]:
        case 'LVM':
            vg_name, lv_name = _lvm_names(name)
            if vg_name == _lvm_names(_mapped_name(device))[0]:
                return (f'LV {vg_name}/{lv_name}',
                        _command('lvchange', '--activate', 'n',
                                 f'{vg_name}/{lv_name}'))
            return (f'volume group {vg_name} as its physical volume',
                    _command('vgchange', '--activate', 'n', vg_name))
        case 'mpath':
            return f'multipath device {name}', _command('multipath', '-f',
                                                        name)
        case 'part':
            return f'partition {name}', _command('kpartx', '-d',
                                                 _node(device))
        case 'CRYPT':
            return f'dm-crypt device {name}', _command('cryptsetup', 'close',
                                                       name)
    return f'device-mapper device {name}', _command('dmsetup', 'remove', name)


def _driver_device(holder: pathlib.Path) -> tuple[str, str]:
    """Return what a device of another driver is, by its name, and its release.
    """
    node = f'/dev/{holder.name}'
    match re.split(r'[_\d]', holder.name)[0]:
        case 'md':
            return f'RAID device {node}', _command('mdadm', '--stop', node)
        case 'drbd':
            minor = holder.name.removeprefix('drbd')
            return (f'DRBD device {node}',
                    _command('drbdadm', 'down', f'minor-{minor}'))
        case 'bcache':
            return (f'bcache device {node}',
                    f'`echo 1 > /sys/block/{holder.name}/bcache/stop`')
    return node, f'stop the service that created {node}'


def _processes(lines: Iterable[str]) -> Iterator[_Use]:
    """Yield a use for each open device, and one for each mount.

    Many processes can see the same mount.

    :param lines: see OpenFiles
    """
    mounts: dict[tuple[str, str], _Use] = {}
    for line in lines:
        pid = line.split('/')[2]
        name = _read(_PROC / pid / 'comm')
        process = f'process {pid} ({name})' if name else f'process {pid}'
        _, mounted, mount = line.partition('/mountinfo:')
        if mounted:
            device, point = _mount(mount)
            mounts.setdefault((device, point), _Use(
                device,
                f'mounted on {point} in the mount namespace of {process}',
                f'stop the container of {process}, or '
                + _command('nsenter', '--target', pid, '--mount', 'umount',
                           point)))
        else:
            number = line.rpartition(' ')[2]
            device = ':'.join(str(int(part, 16))
                              for part in number.split(':'))
            yield _Use(device, f'held by {process}',
                       *_release_by_process(pid, process))
    yield from mounts.values()


def _release_by_process(pid: str, process: str) -> tuple[str, str]:
    """Return how to make a process close its device.

    :returns: the release, and major:minor of the device that the process
        stacks on it, if any
    """
    if _read(_PROC / pid / 'comm') == 'tgtd':
        return _TGTD_RELEASE, ''
    # The file names a thread of qemu-nbd.
    for file in sorted(_BLOCK.glob('nbd*/pid')):
        if _read(_PROC / pid / 'task' / _read(file) / 'comm'):
            nbd = file.parent
            return (_command('qemu-nbd', '--disconnect', f'/dev/{nbd.name}'),
                    _read(nbd / 'dev'))
    return f'stop {process}', ''


def _partitions(device: str) -> Iterator[str]:
    for partition in sorted(_DEVICES.joinpath(device).glob('*/partition')):
        yield _read(partition.with_name('dev'))


def _mapped_name(device: str) -> str:
    return _read(_DEVICES / device / 'dm' / 'name')


def _node(device: str) -> str:
    name = _mapped_name(device)
    return (f'/dev/mapper/{name}' if name
            else f'/dev/{_DEVICES.joinpath(device).resolve().name}')


def number(path: str) -> str:
    """Return the major:minor of a block device's node; '' for another file.

    Only files in /dev are looked at: a file server may not answer.
    """
    if not path.startswith('/dev/'):
        return ''
    try:
        status = os.stat(path)
    except OSError as exc:
        _note(exc)
        return ''
    return (f'{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}'
            if stat.S_ISBLK(status.st_mode) else '')


def _read(path: pathlib.Path) -> str:
    """Return the file's content without its last newline; '' if it is gone."""
    try:
        return path.read_text(errors='surrogateescape').removesuffix('\n')
    except OSError as exc:
        _note(exc)
        return ''


def _note(exc: OSError) -> None:
    if exc.errno not in _GONE:
        LOG.warning('Cannot determine all users of LVs: %s', exc)


def _lines(path: pathlib.Path) -> list[str]:
    # splitlines would also split at other separators, which paths can contain.
    return list(filter(None, _read(path).split('\n')))


def _mount(line: str) -> tuple[str, str]:
    # proc(5): mount ID, parent ID, major:minor, root, mount point, ...
    _, _, device, _, point, *_ = line.split(' ')
    return device, _unescaped(point)


def _lvm_names(name: str) -> tuple[str, str]:
    """Return volume group and LV of a device that LVM named; '' if missing."""
    vg_name, lv_name, *_ = [*re.findall('(?:--|[^-])+', name), '', '']
    return vg_name.replace('--', '-'), lv_name.replace('--', '-')


def _unescaped(path: str) -> str:
    # The kernel writes spaces and backslashes in octal.
    return re.sub(r'\\([0-7]{3})', lambda match: chr(int(match[1], 8)), path)


def _command(*words: str) -> str:
    return f"`{' '.join(map(_quoted, words))}`"


def _quoted(word: str) -> str:
    """Return the word quoted for a shell, in printable characters."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = word.replace('\\', r'\\').replace("'", r"\'")
    return f"$'{_printable(escaped)}'"


def _printable(text: str) -> str:
    return ''.join(
        character if character.isprintable() else
        ''.join(f'\\{byte:03o}'
                for byte in character.encode(errors='surrogateescape'))
        for character in text)
