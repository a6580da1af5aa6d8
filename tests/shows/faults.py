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


"""What becomes of an LV when an LVM command of its adoption goes wrong.

`python -m tests.shows.faults`, as root, prints a table: fault by command by
what came of it, for this driver and for Cinder's, and how often data or a name
was lost.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import enum
import functools
import hashlib
import io
import os
import pathlib
import shlex
import shutil
import signal
import tempfile
import time
import traceback
from typing import Any
from unittest import mock

from cinder import exception
from oslo_log import log as logging
from oslo_utils import units

from tests.lab import signals
from tests.lab.in_process import CinderInProcess
from tests.lab.in_process import IN_TREE
from tests.lab.in_process import OURS
from tests.lab.scratch import ScratchVolumeGroup

_COMMANDS = ('lvm', 'lvs', 'lvdisplay', 'lvchange', 'lvrename', 'lvremove')

# What a command does instead of its work, in bash; "$@" is the real one.
# Those of ONCE do it once, the others from then on.
ONCE = {
    'does its work': 'exec "$@"',
    'fails before its work': 'exit 5',
    'fails after its work': '"$@"; exit 5',
    'crashes before its work': 'exit 139',
    'crashes after its work': '"$@"; exit 139',
    'hangs before its work': 'exec sleep 20',
    'hangs after its work': '"$@"; exec sleep 20',
    'says that it did its work': 'exit 0',
    'prints garbage': '"$@" >/dev/null; echo "} garbage {"',
    'prints half': '"$@" | head --bytes 300',
    'prints a warning': 'echo "WARNING: on stdout"; exec "$@"',
    'prints no UTF-8': '"$@"; printf "\\xff\\xfe"',
    'prints localised numbers':
        '"$@" | sed -E \'s/"([0-9]+)([0-9]{2})"/"\\1,\\2"/g\'',
    'kills cinder-volume before its work': 'kill -9 $PPID; sleep 1',
    'kills cinder-volume after its work': '"$@"; kill -9 $PPID; sleep 1',
    'comes after a rename': 'lvrename -q $VG data1 other; exec "$@"',
    'comes after a replacement':
        'lvrename -q $VG data1 other && lvcreate -qq -L 8m -n data1 $VG; '
        'exec "$@"',
    'comes after a thief of the name':
        'lvcreate -qq -L 8m -n $NEW $VG; exec "$@"',
}
FOR_GOOD = {
    'fails for good': 'exit 5',
    'fails for good after its work': '"$@"; exit 5',
    'crashes for good': 'exit 139',
}
FAULTS = ONCE | FOR_GOOD
# For a test that does something at that moment.
_HALTED = '; touch halted; until [ -e go ]; do sleep 0.05; done; '
HALTS = {'halts before its work': f'true{_HALTED}exec "$@"',
         'halts after its work': f'"$@"{_HALTED}'}
# Those of an unmanage, when there is no data1; and nobody looks whether LVM
# has done what it says, since no more than tags can be left.
OF_UNMANAGE = [fault for fault in FAULTS if not fault.startswith('comes after')
               and fault != 'says that it did its work']

# The commands of this driver's manage and unmanage, in their order; and those
# of the manage of Cinder's.
MANAGE = ('report', 'lvchange', 'lvrename', 'report again')
UNMANAGE = ('report', 'lvrename', 'lvchange')
MANAGE_IN_TREE = ('lvs', 'lvrename')

# How a manage may end: what is refused is put back at once; what was cut off
# is put back, or given back from its new name, when its volume is deleted.
SAFE = {'done', 'refused, put back', 'refused, given back',
        'killed, put back', 'killed, given back',
        # By its name, the other LV was asked for.
        'done with what had replaced it before the first report'}

# Every other MiB is zeros.
_DATA = b''.join(hashlib.sha256(bytes([number])).digest() * 2 ** 15
                 + bytes(units.Mi) for number in range(2))

_REFUSED = 3
_SECONDS_TO_HALT = 600
# A command that hangs is stopped after so long. One that does not may take
# longer than that on a busy machine.
_SECONDS_TO_HANG = 3


class Loss(enum.Enum):
    """What may not happen."""

    DATA = 'data lost'
    NAME = 'name lost'
    RECORD = 'Cinder has not what it records'


class Lost(AssertionError):
    """It has happened all the same."""

    def __init__(self, loss: Loss, how: str) -> None:
        super().__init__(f'{loss.value}: {how}')
        self.loss = loss


class FaultyLvm:
    """LVM's commands, of which one goes wrong; they stand first in PATH."""

    def __init__(self, folder: pathlib.Path, vg: str) -> None:
        self._folder = folder
        self.path = f"{folder}:{os.environ['PATH']}"
        for command in _COMMANDS:
            script = folder / command
            script.write_text(
                '#!/bin/bash\n'
                f'set -- {shutil.which(command)} "$@"\n'
                f'export PATH={os.environ["PATH"]} VG={vg}\n'
                f'cd {folder}; echo >>calls; calls=$(wc -l <calls)\n'
                '[ $calls -ge $(cat step) ] || exec "$@"\n'
                'source ./fault\n')
            script.chmod(0o755)
        self.mend()

    def break_at(self, step: int, fault: str, new_name: str) -> None:
        """The command of that number from now goes wrong."""
        once = '[ $calls = $(cat step) ] || exec "$@"\n'
        self._write(step, f'NEW={shlex.quote(new_name)}\n'
                    + ('' if fault in FOR_GOOD else once)
                    + (FAULTS | HALTS)[fault])

    def wait_until_halted(self) -> None:
        """Return when the command halts."""
        deadline = time.monotonic() + _SECONDS_TO_HALT
        while not self._folder.joinpath('halted').exists():
            if time.monotonic() > deadline:
                raise RuntimeError('no command has come to where it halts')
            time.sleep(0.05)

    def go_on(self) -> None:
        """The halted command goes on; nothing goes wrong from now."""
        self.mend()
        self._folder.joinpath('go').touch()

    def mend(self) -> None:
        """Nothing goes wrong from now."""
        self._write(0, 'exec "$@"')

    def _write(self, step: int, fault: str) -> None:
        for left in ('halted', 'go'):
            self._folder.joinpath(left).unlink(missing_ok=True)
        self._folder.joinpath('step').write_text(str(step))
        self._folder.joinpath('fault').write_text(fault + '\n')
        self._folder.joinpath('calls').write_text('')


def _end(work: Callable[[], None]) -> str:
    """How the work ends, in a process of its own."""
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
    # With the command that hangs in it, it can be killed.
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
    """One LV, managed while LVM's commands go wrong.

    :ivar group: is empty but for the LV
    """

    def __init__(self, cinder: CinderInProcess, group: ScratchVolumeGroup,
                 driver: Any, impatient: Any, lvm: FaultyLvm) -> None:
        """Describe the trial.

        :param impatient: the driver, for commands that hang
        """
        self._cinder = cinder
        self._group = group
        self._driver = driver
        self._impatient = impatient
        self._lvm = lvm

    def manage(self, step: int, fault: str, recorded: bool = True) -> str:
        """What becomes of the LV, by way of Cinder's flow.

        :param recorded: Cinder lives to record what the driver has done
        :raises Lost: its data or its name is lost
        """
        before = self._create()
        volume = self._cinder.record_volume()
        self._lvm.break_at(step, fault, volume.name)
        end = _end(lambda: self._driver_for(fault).manage_existing(
            volume, {'source-name': 'data1'}))
        self._lvm.mend()
        name = self._find(before)['lv_name']
        if end == 'done' and recorded:
            if step == 1 and fault == 'comes after a replacement':
                volume.destroy()
                return 'done with what had replaced it before the first report'
            if name != volume.name:
                raise Lost(Loss.RECORD, f'the LV is named {name}')
            volume.launched_at = volume.created_at
            volume.save()
            self._driver.unmanage(volume)
            volume.destroy()
            self._check_as_it_was(before)
            return 'done'
        # What the operator does: deletes what has the status error_managing.
        self._driver.delete_volume(volume)
        volume.destroy()
        self._check_as_it_was(before)
        self._manage_again(before)
        return f"{end}, {'given' if name == volume.name else 'put'} back"

    def unmanage(self, step: int, fault: str) -> str:
        """The same for an unmanage."""
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
            # The operator tries again.
            self._driver.unmanage(volume)
        volume.destroy()
        self._check_as_it_was(before)
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
        """The LV's row now."""
        found = [row for row in self._rows()
                 if row['lv_uuid'] == before['lv_uuid']]
        if not found:
            raise Lost(Loss.DATA, 'the LV is removed')
        if found[0]['seg_pe_ranges'] != before['seg_pe_ranges']:
            raise Lost(Loss.DATA, 'the LV lies elsewhere')
        with open(self._device, 'rb') as device:
            device.seek(self._first)
            if device.read(self._count) != _DATA:
                raise Lost(Loss.DATA, 'the LV has others')
        return found[0]

    def _check_as_it_was(self, before: dict[str, str]) -> None:
        now = self._find(before)
        # Whoever has renamed it meanwhile has renamed it.
        if now['lv_name'] not in ('data1', 'other'):
            raise Lost(Loss.NAME, f'the LV is {now["lv_name"]} for good')
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
    """A trial of a driver; within it LVM is faulty, in this whole process."""
    with tempfile.TemporaryDirectory() as folder:
        lvm = FaultyLvm(pathlib.Path(folder), group.name)
        with mock.patch.dict(os.environ, PATH=lvm.path):
            impatient = cinder.driver(
                group, volume_driver,
                lvm_manage_command_timeout=_SECONDS_TO_HANG)
            driver = cinder.driver(group, volume_driver)
            yield Trial(cinder, group, driver, impatient, lvm)


def main() -> None:
    """Print a table for each driver, and how much was lost."""
    logging.getLogger(None).logger.setLevel(logging.CRITICAL + 1)
    with (tempfile.TemporaryDirectory() as state,
          CinderInProcess(pathlib.Path(state)) as cinder,
          ScratchVolumeGroup() as group,
          mock.patch.dict(os.environ, group.environment),
          # Of another error the table says that it was one.
          contextlib.redirect_stderr(io.StringIO())):
        with trial(cinder, group) as ours:
            _print_table('Manage by this driver', MANAGE, FAULTS, ours.manage)
            _print_unrecorded(ours)
            _print_table('Unmanage by this driver', UNMANAGE, OF_UNMANAGE,
                         ours.unmanage)
        with trial(cinder, group, IN_TREE) as theirs:
            _print_table("Manage by Cinder's own", MANAGE_IN_TREE, FAULTS,
                         theirs.manage)
            _print_unrecorded(theirs)


def _print_table(title: str, steps: tuple[str, ...], faults: Iterable[str],
                 attempt: Callable[[int, str], str]) -> None:
    print(_line(title, steps))
    outcomes = []
    for fault in faults:
        cells = [_outcome(functools.partial(attempt, step, fault))
                 for step in range(1, len(steps) + 1)]
        outcomes += cells
        print(_line(fault, cells), flush=True)
    print(f'{len(outcomes)} faults; ' + '; '.join(
        f'{loss.value}: {outcomes.count(loss.value)}' for loss in Loss), '\n',
        flush=True)


def _print_unrecorded(of_driver: Trial) -> None:
    outcome = _outcome(functools.partial(of_driver.manage, 1,
                                         'does its work', recorded=False))
    print(f'Cinder is killed, or its database fails, when the driver has done '
          f'its part: {outcome}\n', flush=True)


def _outcome(attempt: Callable[[], str]) -> str:
    try:
        return attempt()
    except Lost as exc:
        return exc.loss.value


def _line(title: str, cells: Iterable[str]) -> str:
    return ' '.join([f'{title:<36}', *(f'{cell:<30}' for cell in cells)]
                    ).rstrip()


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main()
