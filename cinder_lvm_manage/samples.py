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

"""Samples: the first and last bytes of LVs, for finding out what they contain.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
import sys
import time
import types
import typing

from oslo_concurrency import processutils
from oslo_log import log as logging
from oslo_utils import units

from cinder_lvm_manage import contents
from cinder_lvm_manage import device_reader
from cinder_lvm_manage import libblkid
from cinder_lvm_manage.contents import Contents

LOG = logging.getLogger(__name__)

# These contain all that libblkid looks for, except UDF, and VMFS and ZFS on a
# disk without partitions. Furthest from the edges are btrfs, 64 KiB from the
# start, and Linux RAID with metadata 0.90, 64 KiB from the end. DRBD puts its
# own into the last 4 KiB. More ranges would cost more seeks.
HEAD = 128 * units.Ki
TAIL = 64 * units.Ki

_LIBBLKID = (sys.executable, '-I', libblkid.__file__)

# Seconds after which a device counts as hanging, and after which no more are
# read or identified: Cinder's API gives up on a listing after 60.
_DEVICE_SECONDS = 5
_READ_SECONDS = 20
_IDENTIFY_SECONDS = 15


class ReaderError(Exception):
    """The reader of devices printed something that it cannot have printed."""


class _Extent(typing.NamedTuple):
    """A range of a device, and where that is in the memory of the samples."""

    offset: int
    length: int
    position: int


class _Device(typing.NamedTuple):
    path: str
    size: int
    head: _Extent
    tail: _Extent

    @classmethod
    def at(cls, path: str, size: int, position: int) -> _Device:
        """:param position: of its sample in the memory"""
        head = min(size, HEAD)
        tail = min(size - head, TAIL)
        return cls(path, size, _Extent(0, head, position),
                   _Extent(size - tail, tail, position + head))


class _Identified(typing.NamedTuple):
    """What libblkid found in a sample, or why that is not known."""

    values: Mapping[str, str] = {}
    note: str = ''


class Samples:
    """The first and last bytes of devices, in a memory file.

    The reader, which has to run as root, writes into that file. So the bytes
    neither pass through the privileged daemon, which handles output as text,
    nor reach a disk. Zeros use no memory.

    :param devices: size in bytes by path
    """

    READER: typing.ClassVar = (sys.executable, '-I', device_reader.__file__)
    # Seconds in which it ends.
    SECONDS: typing.ClassVar = _READ_SECONDS

    def __init__(self, devices: Mapping[str, int]) -> None:
        self._devices = [
            _Device.at(path, size, number * (HEAD + TAIL))
            for number, (path, size) in enumerate(devices.items())]
        self._memory = os.memfd_create('cinder_lvm_manage')
        os.ftruncate(self._memory, len(devices) * (HEAD + TAIL))

    def __enter__(self) -> Samples:
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 exc: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        os.close(self._memory)

    @property
    def request(self) -> str:
        """What the reader is to be given as its standard input."""
        return json.dumps({
            'target': self._path,
            'device_seconds': _DEVICE_SECONDS, 'seconds': _READ_SECONDS,
            'devices': [(device.path, [device.head, device.tail])
                        for device in self._devices]})

    def contents(self, report: str) -> dict[str, Contents]:
        """Return what each device contains, by its path.

        :param report: what the reader printed
        :raises ReaderError: it cannot have printed this
        """
        return {
            device.path: contents.of(
                self._bytes(device.head), self._bytes(device.tail),
                identified.values, unread or identified.note)
            for device, unread, identified in zip(
                self._devices, self._unread(report), self._identified(),
                strict=True)}

    @property
    def _path(self) -> str:
        return f'/proc/{os.getpid()}/fd/{self._memory}'

    def _bytes(self, extent: _Extent) -> bytes:
        return os.pread(self._memory, extent.length, extent.position)

    def _unread(self, report: str) -> list[str]:
        """Why each device was not read; empty if it was."""
        try:
            unread = json.loads(report)
        except (ValueError, RecursionError) as exc:
            raise ReaderError('the reader of devices printed '
                              f'{contents.printable(report)}') from exc
        if not (isinstance(unread, list)
                and len(unread) == len(self._devices)
                and all(isinstance(why, str) for why in unread)):
            raise ReaderError('the reader of devices did not print one text '
                              f'for each: {contents.printable(report)}')
        return unread

    def _identified(self) -> list[_Identified]:
        """What libblkid finds in each; run again after one that stops it."""
        identified: list[_Identified] = []
        end = time.monotonic() + _IDENTIFY_SECONDS
        while rest := self._devices[len(identified):]:
            request = json.dumps({
                'samples': self._path, 'seconds': end - time.monotonic(),
                'devices': [(device.size, [device.head, device.tail])
                            for device in rest]})
            # It may end in any way that a crash of C code can.
            out, err = processutils.execute(
                *_LIBBLKID, process_input=request, check_exit_code=False)
            started, *lines = out.split('\n')
            identified += map(_parsed, lines[:-1])
            missing = len(self._devices) - len(identified)
            if not started:
                LOG.warning('What LVs contain cannot be identified: %s', err)
                why = 'libblkid cannot be used'
            elif time.monotonic() > end:
                why = ('identifying the contents of all LVs took longer than '
                       f'{_IDENTIFY_SECONDS} seconds')
            else:
                why, missing = 'libblkid failed on it', min(1, missing)
            identified += [_Identified(note=f'not identified: {why}')
                           ] * missing
        return identified


def _parsed(line: str) -> _Identified:
    values = json.loads(line)
    if values is None:
        return _Identified(note='contradictory signatures, see wipefs(8)')
    return _Identified(values)
