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

"""SharedLvm: LVM's commands as the hosts of a shared volume group see them.

See lvmlockd_stand_in.py for what it stands for.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sys

from tests.lab import lvmlockd_stand_in

_COMMANDS = ('lvm', 'lvs', 'vgs', 'lvdisplay', 'lvchange', 'lvrename',
             'lvremove', 'lvcreate', 'lvextend', 'lvconvert')


class SharedLvm:
    """The commands of each host, and which host has which LV active."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def path(self, host: str) -> str:
        """Return a PATH in which the commands are those of a host."""
        commands = self._folder / host
        commands.mkdir(exist_ok=True)
        for command in _COMMANDS:
            script = commands / command
            script.write_text(
                '#!/bin/sh\n'
                f'exec {sys.executable} -I -S {lvmlockd_stand_in.__file__} '
                f'{host} {self._folder} {shutil.which(command)} "$@"\n')
            script.chmod(0o755)
        return f"{commands}:{os.environ['PATH']}"

    def active(self) -> dict[str, str]:
        """Return the host of each active LV, by the LV's UUID."""
        path = self._folder / 'locks.json'
        return json.loads(path.read_text()) if path.exists() else {}

    def expire(self, host: str) -> None:
        """Drop the locks of a host, as sanlock does after it has failed."""
        self._write({uuid: other for uuid, other in self.active().items()
                     if other != host})

    def activate(self, lv_uuid: str, host: str) -> None:
        """Record that a host has an LV active."""
        self._write(self.active() | {lv_uuid: host})

    def _write(self, locks: dict[str, str]) -> None:
        (self._folder / 'locks.json').write_text(json.dumps(locks))
