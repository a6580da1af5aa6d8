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

"""Samples: the first and last bytes of LVs, which show what they contain."""

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

# libblkid needs no other bytes, except for UDF, and for VMFS and ZFS on a disk
# without partitions. btrfs is 64 KiB from the start, Linux RAID with metadata
# 0.90 is 64 KiB from the end, and DRBD's metadata are in the last 4 KiB. More
# ranges would cost more seeks.
HEAD = 128 * units.Ki
TAIL = 64 * units.Ki

_LIBBLKID = (sys.executable, '-I', '-S', libblkid.__file__)

# Time limits in seconds: for one device, for reading all of them, and for
# identifying all of them. Cinder's API waits 60 seconds for a listing.
_DEVICE_SECONDS = 5
_READ_SECONDS = 20
_IDENTIFY_SECONDS = 15
_NOT_REACHED = ('not read: reading all LVs took longer than '
                f'{_READ_SECONDS} seconds')
_FAILED_ON_IT = 'libblkid failed on it'


class ReaderError(Exception):
    """device_reader.py printed malformed output."""


class _Extent(typing.NamedTuple):
    """A range of a device, and its position in the memory file."""

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
        """:param position: of the device's sample in the memory file"""
        head = min(size, HEAD)
        tail = min(size - head, TAIL)
        return cls(path, size, _Extent(0, head, position),
                   _Extent(size - tail, tail, position + head))


class _Identified(typing.NamedTuple):
    """The names and values that libblkid found, or why they are not known.

    :ivar failed: because of the sample, which may then be anything
    """

    values: Mapping[str, str] = {}
    note: str = ''
    failed: bool = False


class Samples:
    """The first and last bytes of devices, in a memory file.

    device_reader.py runs as root and writes the bytes to that file. They
    cannot pass through the privileged daemon, which treats output as text and
    logs it. Zeros use no memory.

    :param devices: size in bytes by path
    """

    READER: typing.ClassVar = (sys.executable, '-I', '-S',
                               device_reader.__file__)
    # The time limit of device_reader.py.
    SECONDS: typing.ClassVar = _READ_SECONDS

    def __init__(self, devices: Mapping[str, int]) -> None:
        self._devices = [
            _Device.at(path, size, number * (HEAD + TAIL))
            for number, (path, size) in enumerate(devices.items())]

    def __enter__(self) -> Samples:
        self._memory = os.memfd_create('cinder_lvm_manage')
        # It has no content yet: it can only grow.
        os.ftruncate(self._memory, len(self._devices) * (HEAD + TAIL))
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 exc: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        os.close(self._memory)

    @property
    def request(self) -> str:
        """The standard input of READER."""
        return json.dumps({
            'target': self._path,
            'device_seconds': _DEVICE_SECONDS, 'seconds': _READ_SECONDS,
            'devices': [(device.path, [device.head, device.tail])
                        for device in self._devices]})

    def contents(self, report: str) -> dict[str, Contents]:
        """Return what each device contains, by its path.

        :param report: the standard output of READER
        :raises ReaderError: the report is malformed
        """
        return {
            device.path: contents.of(
                self._bytes(device.head), self._bytes(device.tail),
                identified.values,
                _NOT_REACHED if unread is None else unread or identified.note,
                bool(unread) or identified.failed)
            for device, unread, identified in zip(
                self._devices, self._unread(report), self._identified(),
                strict=True)}

    @property
    def _path(self) -> str:
        return f'/proc/{os.getpid()}/fd/{self._memory}'

    def _bytes(self, extent: _Extent) -> bytes:
        return os.pread(self._memory, extent.length, extent.position)

    def _unread(self, report: str) -> list[str | None]:
        """Return why each device was not read, as device_reader.py prints it.
        """
        try:
            unread = json.loads(report)
        except (ValueError, RecursionError) as exc:
            raise ReaderError('device_reader.py printed '
                              f'{contents.printable(report)}') from exc
        if not (isinstance(unread, list)
                and len(unread) == len(self._devices)
                and all(why is None or isinstance(why, str)
                        for why in unread)):
            raise ReaderError('device_reader.py did not print one text for '
                              f'each device: {contents.printable(report)}')
        return unread

    def _identified(self) -> list[_Identified]:
        """Return what libblkid finds in each sample.

        If libblkid crashes on a sample, it is started again with the next.
        """
        identified: list[_Identified] = []
        end = time.monotonic() + _IDENTIFY_SECONDS
        while rest := self._devices[len(identified):]:
            request = json.dumps({
                'samples': self._path, 'seconds': end - time.monotonic(),
                'devices': [(device.size, [device.head, device.tail])
                            for device in rest]})
            # The exit code does not matter: it also ends by a signal.
            out, err = processutils.execute(
                *_LIBBLKID, process_input=request, check_exit_code=False)
            started, *lines = out.split('\n')
            identified += map(_parsed, lines[:-1])
            missing = len(self._devices) - len(identified)
            if not started:
                LOG.warning('Cannot identify the contents of LVs: libblkid '
                            'failed to start: %s',
                            err.strip().rpartition('\n')[2])
                why = 'libblkid failed to start'
            elif time.monotonic() > end:
                why = ('identifying the contents of all LVs took longer than '
                       f'{_IDENTIFY_SECONDS} seconds')
            else:
                why, missing = _FAILED_ON_IT, min(1, missing)
            identified += [_Identified(note=f'not identified: {why}',
                                       failed=why == _FAILED_ON_IT)
                           ] * missing
        return identified


def _parsed(line: str) -> _Identified:
    values = json.loads(line)
    if values is None:
        return _Identified(note='not identified: contradictory signatures, '
                                'see wipefs(8)', failed=True)
    return _Identified(values)
