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

"""Runs an LVM command as on one of several hosts that share a volume group.

It runs as `python -I -S lvmlockd_stand_in.py HOST STATE REAL ARGUMENT...`, in
place of the command REAL. It stands in for lvmlockd and for the activation of
LVs, which need device-mapper: a file records which host has which LV active.
It shows and refuses what LVM 2.03.16 with lvmlockd and sanlock was seen to
show and refuse on the second of two hosts, with the same messages and exit
codes. The metadata are real. tests/lab/shared_lvm.py uses it.

Unlike LVM, it does not know thin pools and shared activation, a lock is always
known, no LV is ever open, and there are no devices.
"""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import subprocess
import sys
from typing import NoReturn

_REFUSED = 5


class Command:
    """A command. As LVM locks the group, only one command runs at a time."""

    def __init__(self, host: str, state: pathlib.Path, real: str,
                 arguments: list[str]) -> None:
        self.host = host
        self.locks_path = state / 'locks.json'
        self.real = real
        self.arguments = arguments
        # The host that has an LV active, by the UUID of the LV.
        self.locks: dict[str, str] = (
            json.loads(self.locks_path.read_text())
            if self.locks_path.exists() else {})

    def run(self) -> int:
        """Run the command, and return its exit code."""
        match pathlib.Path(self.real).name:
            case 'lvchange' if self._activate() == 'y':
                self._check(self._lv())
                return self._activated(self._lv())
            case 'lvchange' if self._activate() == 'n':
                self._deactivated(self._lv())
                return 0
            case 'lvrename':
                self._check(self.arguments[-2], snapshots=False)
            case 'lvextend':
                self._check(self._lv())
            case 'lvremove':
                self._check(self._lv(), snapshots=False)
                uuid = self._row(self._lv()).get('lv_uuid', '')
                exit_code = self._execute().returncode
                if exit_code == 0:
                    self.locks.pop(uuid, None)
                    self._save()
                return exit_code
            case 'lvcreate' if '--snapshot' in self.arguments:
                self._check(self._lv())
            case 'lvcreate':
                exit_code = self._execute().returncode
                return exit_code or self._activated(self._option('-n', '--name'
                                                                 ))
            case 'lvm' if 'fullreport' in self.arguments:
                return self._report()
            case 'lvdisplay' if 'Attr' in self.arguments:
                return self._attr()
        return self._execute().returncode

    def _execute(self, capture: bool = False
                 ) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.real, *self.arguments], text=True,
                              stdout=subprocess.PIPE if capture else None,
                              check=False)

    def _option(self, *names: str) -> str:
        return next((value for name, value
                     in zip(self.arguments, self.arguments[1:], strict=False)
                     if name in names), '')

    def _activate(self) -> str:
        return self._option('-a', '--activate')

    def _lv(self) -> str:
        return self.arguments[-1].rpartition('/')[2]

    def _rows(self) -> list[dict[str, str]]:
        lvs = str(pathlib.Path(self.real).with_name('lvs'))
        printed = subprocess.run(
            [lvs, '--all', '--reportformat', 'json', '--options',
             'vg_name,lv_name,lv_uuid,lv_role,origin'],
            capture_output=True, text=True, check=True).stdout
        rows: list[dict[str, str]] = json.loads(printed)['report'][0]['lv']
        return rows

    def _row(self, lv_name: str) -> dict[str, str]:
        return next((row for row in self._rows()
                     if row['lv_name'] == lv_name), {})

    def _locked_row(self, lv_name: str) -> dict[str, str]:
        """Return the row of the LV whose lock counts; {} if there is none."""
        row = self._row(lv_name)
        return (self._row(row['origin'])
                if 'thicksnapshot' in row.get('lv_role', '') else row)

    def _check(self, lv_name: str, snapshots: bool = True) -> None:
        """Refuse the command if another host has the LV active.

        :param snapshots: whether to check it for a thick snapshot too
        """
        if ('thicksnapshot' in self._row(lv_name).get('lv_role', '')
                and not snapshots):
            return
        row = self._locked_row(lv_name)
        if self.locks.get(row.get('lv_uuid', ''), self.host) != self.host:
            self._refuse(row['vg_name'], row['lv_name'])

    def _refuse(self, vg_name: str, lv_name: str) -> NoReturn:
        print(f'  LV locked by other host: {vg_name}/{lv_name}\n'
              f'  Failed to lock logical volume {vg_name}/{lv_name}.',
              file=sys.stderr)
        sys.exit(_REFUSED)

    def _activated(self, lv_name: str) -> int:
        row = self._locked_row(lv_name)
        if not row:
            return self._execute().returncode
        self.locks[row['lv_uuid']] = self.host
        self._save()
        return 0

    def _deactivated(self, lv_name: str) -> None:
        uuid = self._locked_row(lv_name).get('lv_uuid', '')
        if self.locks.get(uuid) == self.host:
            del self.locks[uuid]
            self._save()

    def _save(self) -> None:
        new = self.locks_path.with_suffix('.new')
        new.write_text(json.dumps(self.locks))
        new.rename(self.locks_path)

    def _report(self) -> int:
        done = self._execute(capture=True)
        if done.returncode:
            return done.returncode
        answer = json.loads(done.stdout)
        report, = answer['report']
        for vg in report['vg']:
            vg['vg_shared'] = '1'
        uuids = {row['lv_name']: row['lv_uuid'] for row in report['lv']}
        for row in report['lv']:
            uuid = (uuids[row['origin']]
                    if 'thicksnapshot' in row['lv_role'] else row['lv_uuid'])
            row['lv_attr'] = self._as_seen(row['lv_attr'], uuid)
        print(json.dumps(answer))
        return 0

    def _attr(self) -> int:
        done = self._execute(capture=True)
        uuid = self._locked_row(self._lv()).get('lv_uuid', '')
        print('  ' + self._as_seen(done.stdout.strip(), uuid))
        return done.returncode

    def _as_seen(self, attr: str, uuid: str) -> str:
        """Return lv_attr with the state as this host sees it."""
        active = self.locks.get(uuid) == self.host
        return attr[:4] + ('a-' if active else '--') + attr[6:]


def main(host: str, state: str, real: str, *arguments: str) -> int:
    """Run one command, and return its exit code."""
    folder = pathlib.Path(state)
    with (folder / 'group').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return Command(host, folder, real, list(arguments)).run()


if __name__ == '__main__':
    os.environ.setdefault('LC_ALL', 'C')
    sys.exit(main(*sys.argv[1:]))
