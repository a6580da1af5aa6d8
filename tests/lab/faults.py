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

`python -m tests.lab.faults`, as root, prints a table: fault by step by what
came of it, with the in-tree driver's losses beside.
"""

from __future__ import annotations

from collections.abc import Callable
import os
import pathlib
import shlex
import shutil
import traceback
from typing import Any

from cinder import exception

from tests.lab.in_process import CinderInProcess
from tests.lab.in_process import OURS
from tests.lab.scratch import ScratchVolumeGroup

_COMMANDS = ('lvm', 'lvs', 'lvdisplay', 'lvchange', 'lvrename', 'lvremove')

# What a command does instead of its work, in bash; "$@" is the real one.
# Those of ONCE do it once, the others from then on.
ONCE = {
    'fails before its work': 'exit 5',
    'fails after its work': '"$@"; exit 5',
    'crashes before its work': 'exit 139',
    'crashes after its work': '"$@"; exit 139',
    'hangs before its work': 'exec sleep 1000',
    'hangs after its work': '"$@"; exec sleep 1000',
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
# Those of an unmanage, when there is no data1; and nobody looks whether LVM
# has done what it says, since no more than tags can be left.
OF_UNMANAGE = [fault for fault in FAULTS if not fault.startswith('comes after')
               and fault != 'says that it did its work']

# The commands of this driver's manage and unmanage, in their order.
MANAGE = ('report', 'lvchange', 'lvrename', 'report again')
UNMANAGE = ('report', 'lvrename', 'lvchange')


_REFUSED = 3


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
                    + (once if fault in ONCE else '') + FAULTS[fault])

    def mend(self) -> None:
        """Nothing goes wrong from now."""
        self._write(0, 'exec "$@"')

    def _write(self, step: int, fault: str) -> None:
        self._folder.joinpath('step').write_text(str(step))
        self._folder.joinpath('fault').write_text(fault + '\n')
        self._folder.joinpath('calls').write_text('')


def _ends(work: Callable[[], None]) -> bool:
    """Whether the work is done without error, in a process of its own."""
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
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) not in (0, _REFUSED):
        raise AssertionError('the driver has raised what is not of Cinder')
    return status == 0


class Trial:
    """One LV, managed while LVM's commands go wrong.

    :ivar group: is empty but for the LV
    """

    def __init__(self, cinder: CinderInProcess, group: ScratchVolumeGroup,
                 driver: Any, lvm: FaultyLvm) -> None:
        self._cinder = cinder
        self._group = group
        self._driver = driver
        self._lvm = lvm

    def manage(self, step: int, fault: str) -> str:
        """What becomes of the LV, by way of Cinder's flow.

        :raises AssertionError: its data or its name is lost
        """
        before = self._create()
        volume = self._cinder.record_volume()
        self._lvm.break_at(step, fault, volume.name)
        managed = _ends(lambda: self._driver.manage_existing(
            volume, {'source-name': 'data1'}))
        self._lvm.mend()
        name = self._name(before)
        if managed:
            assert name == volume.name, f'it is {name}'
            volume.launched_at = volume.created_at
            volume.save()
            self._driver.unmanage(volume)
            volume.destroy()
            self._assert_as_it_was(before)
            return 'managed'
        # What the operator does: deletes what has the status error_managing.
        self._driver.delete_volume(volume)
        volume.destroy()
        self._assert_as_it_was(before)
        self._manage_again(before)
        return 'given back' if name == volume.name else 'put back'

    def unmanage(self, step: int, fault: str) -> str:
        """The same for an unmanage."""
        before = self._create()
        volume = self._cinder.record_volume()
        self._driver.manage_existing(volume, {'source-name': 'data1'})
        self._lvm.break_at(step, fault, 'other')
        given_back = _ends(lambda: self._driver.unmanage(volume))
        self._lvm.mend()
        self._name(before)
        if not given_back:
            # The operator tries again.
            self._driver.unmanage(volume)
        volume.destroy()
        self._assert_as_it_was(before)
        self._manage_again(before)
        return 'given back' if given_back else 'given back then'

    def _create(self) -> dict[str, str]:
        for name in self._group.names():
            self._group.lvm('lvremove', '--yes', f'{self._group.name}/{name}')
        self._group.create('data1', '4m')
        row, = self._rows()
        return row

    def _rows(self) -> list[dict[str, str]]:
        return self._group.report('lv_name', 'lv_uuid', 'lv_tags',
                                  'seg_pe_ranges')

    def _name(self, before: dict[str, str]) -> str:
        rows = [row for row in self._rows()
                if row['lv_uuid'] == before['lv_uuid']]
        assert rows, 'the LV is lost'
        assert rows[0]['seg_pe_ranges'] == before['seg_pe_ranges']
        name = rows[0]['lv_name']
        assert (name in ('data1', 'other')
                or 'cinder_lvm_manage:name=data1' in rows[0]['lv_tags']
                ), f'its name is lost: {rows[0]}'
        return name

    def _assert_as_it_was(self, before: dict[str, str]) -> None:
        for row in self._rows():
            assert not row['lv_tags'], row
            if row['lv_uuid'] == before['lv_uuid']:
                # Whoever has renamed it meanwhile has renamed it.
                assert row | {'lv_name': 'data1'} == before
                assert row['lv_name'] in ('data1', 'other')

    def _manage_again(self, before: dict[str, str]) -> None:
        volume = self._cinder.record_volume()
        self._driver.manage_existing(volume, {'source-id': before['lv_uuid']})
        volume.destroy()


def trial(cinder: CinderInProcess, group: ScratchVolumeGroup,
          folder: pathlib.Path, volume_driver: str = OURS) -> Trial:
    """A trial of a driver; its LVM is faulty as long as PATH says so."""
    lvm = FaultyLvm(folder, group.name)
    os.environ['PATH'] = lvm.path
    driver = cinder.driver(group, volume_driver, lvm_manage_command_timeout=3)
    return Trial(cinder, group, driver, lvm)
