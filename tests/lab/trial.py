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

"""A trial: an LV is managed or unmanaged while an LVM command goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import enum
import hashlib
import os
import pathlib
import signal
import tempfile
import traceback
from typing import Any
from unittest import mock

from cinder import exception
from oslo_utils import units

from tests.lab.faulty_lvm import FaultyLvm
from tests.lab.in_process import CinderInProcess
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import OURS

# The outcomes of a manage in which nothing is lost. After a failure the LV has
# its old name, at once or when the volume is deleted.
SAFE = {'done', 'refused, name kept', 'refused, released on delete',
        'killed, name kept', 'killed, released on delete',
        # The request names the LV, so it is the replacement that is managed.
        'done with the replacement'}

# Zeros in every other MiB.
_DATA = b''.join(hashlib.sha256(bytes([number])).digest() * 2 ** 15
                 + bytes(units.Mi) for number in range(2))

_REFUSED = 3
# The time limit of a command that hangs. On a busy machine a command that does
# not hang may take longer, so the other commands have the default.
_SECONDS_TO_HANG = 3


class Loss(enum.Enum):
    """The losses that no fault may cause."""

    DATA = 'data lost'
    NAME = 'name lost'
    RECORD = "Cinder's record wrong"


class Lost(AssertionError):
    """A fault has caused a loss."""

    def __init__(self, loss: Loss, how: str) -> None:
        super().__init__(f'{loss.value}: {how}')
        self.loss = loss


def _end(work: Callable[[], None]) -> str:
    """Run the work in a child process, and return how it ended."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except exception.CinderException:
            os._exit(_REFUSED)
        finally:
            traceback.print_exc()
            os._exit(1)
    # A group of its own, to kill it with a command that hangs.
    os.setpgid(child, child)
    try:
        status = os.waitpid(child, 0)[1]
    except BaseException:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    if os.WIFSIGNALED(status):
        return 'killed'
    return {0: 'done', _REFUSED: 'refused'}.get(os.WEXITSTATUS(status),
                                                'another error')


class Trial:
    """An LV that is managed or unmanaged while an LVM command goes wrong."""

    def __init__(self, cinder: CinderInProcess, group: ScratchVolumeGroup,
                 driver: Any, impatient: Any, lvm: FaultyLvm) -> None:
        """Describe the trial.

        :param group: has no other LV
        :param impatient: a driver with a short time limit for commands
        """
        self._cinder = cinder
        self._group = group
        self._driver = driver
        self._impatient = impatient
        self._lvm = lvm

    def manage(self, step: int, fault: str, recorded: bool = True) -> str:
        """Manage an LV with this fault as Cinder does; return the outcome.

        :param step: the number of the command that goes wrong
        :param recorded: whether Cinder records what the driver has done
        :raises Lost: the fault has caused a loss
        """
        before = self._create()
        volume = self._cinder.record_volume()
        self._lvm.break_at(step, fault, volume.name)
        end = _end(lambda: self._driver_for(fault).manage_existing(
            volume, {'source-name': 'data1'}))
        self._lvm.mend()
        name = self._find(before)['lv_name']
        if end == 'done' and recorded:
            if step == 1 and fault == 'follows a replacement':
                volume.destroy()
                return 'done with the replacement'
            if name != volume.name:
                raise Lost(Loss.RECORD, f'the LV is named {name}')
            volume.launched_at = volume.created_at
            volume.save()
            self._driver.unmanage(volume)
            volume.destroy()
            self._check_restored(before)
            return 'done'
        # An operator deletes a volume that has the status error_managing.
        self._driver.delete_volume(volume)
        volume.destroy()
        self._check_restored(before)
        self._manage_again(before)
        return (f'{end}, released on delete' if name == volume.name else
                f'{end}, name kept')

    def unmanage(self, step: int, fault: str) -> str:
        """Unmanage an LV with this fault; return the outcome.

        :param step: the number of the command that goes wrong
        :raises Lost: the fault has caused a loss
        """
        before = self._create()
        volume = self._cinder.record_volume()
        self._driver.manage_existing(volume, {'source-name': 'data1'})
        self._lvm.break_at(step, fault, 'other')
        end = _end(lambda: self._driver_for(fault).unmanage(volume))
        self._lvm.mend()
        row = self._find(before)
        if (row['lv_name'] != 'data1'
                and 'cinder_lvm_manage:name=data1' not in row['lv_tags']):
            raise Lost(Loss.NAME, str(row))
        if end != 'done':
            # An operator tries again.
            self._driver.unmanage(volume)
        volume.destroy()
        self._check_restored(before)
        self._manage_again(before)
        return end if end == 'done' else f'{end}, then done'

    def _driver_for(self, fault: str) -> Any:
        return self._impatient if fault.startswith('hangs') else self._driver

    def _create(self) -> dict[str, str]:
        for name in self._group.names():
            self._group.lvm('lvremove', '--yes', f'{self._group.name}/{name}')
        self._group.create('data1', '4m')
        row, = self._rows()
        self._device, self._first, self._count = self._group.extents(
            row['lv_uuid'])
        with open(self._device, 'r+b') as device:
            device.seek(self._first)
            device.write(_DATA)
        return row

    def _rows(self) -> list[dict[str, str]]:
        return self._group.report('lv_name', 'lv_uuid', 'lv_tags',
                                  'seg_pe_ranges')

    def _find(self, before: dict[str, str]) -> dict[str, str]:
        """Return the row of the LV, which has its data."""
        found = [row for row in self._rows()
                 if row['lv_uuid'] == before['lv_uuid']]
        if not found:
            raise Lost(Loss.DATA, 'the LV is removed')
        if found[0]['seg_pe_ranges'] != before['seg_pe_ranges']:
            raise Lost(Loss.DATA, 'the LV has other extents')
        with open(self._device, 'rb') as device:
            device.seek(self._first)
            if device.read(self._count) != _DATA:
                raise Lost(Loss.DATA, 'the LV has other data')
        return found[0]

    def _check_restored(self, before: dict[str, str]) -> None:
        now = self._find(before)
        # Another process may have renamed it meanwhile.
        if now['lv_name'] not in ('data1', 'other'):
            raise Lost(Loss.NAME, f'the LV is still named {now["lv_name"]}')
        if tagged := [row for row in self._rows() if row['lv_tags']]:
            raise Lost(Loss.RECORD, f'tags are left: {tagged}')

    def _manage_again(self, before: dict[str, str]) -> None:
        volume = self._cinder.record_volume()
        self._driver.manage_existing(
            volume, {'source-name': self._find(before)['lv_name']})
        volume.destroy()


@contextlib.contextmanager
def trial(cinder: CinderInProcess, group: ScratchVolumeGroup,
          volume_driver: str = OURS) -> Iterator[Trial]:
    """Make a trial of a driver; the faulty LVM is in this process's PATH."""
    with tempfile.TemporaryDirectory() as folder:
        lvm = FaultyLvm(pathlib.Path(folder), group.name)
        with mock.patch.dict(os.environ, PATH=lvm.path):
            impatient = cinder.driver(
                group, volume_driver,
                lvm_manage_command_timeout=_SECONDS_TO_HANG)
            driver = cinder.driver(group, volume_driver)
            yield Trial(cinder, group, driver, impatient, lvm)
