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

"""An operator's commands and their output, which doc/source/adopt.rst shows.

`python -m tests.shows.walkthrough`, as root; needs device-mapper. It runs the
commands as it prints them, except that it adds python-cinderclient's options
for the credentials. Its files and LVs are gone at the end.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import subprocess
import sys

from oslo_utils import units

from tests.lab import signals
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.scratch import ScratchVolumeGroup

_MOUNT_POINT = pathlib.Path('/run/web01')
_LVS = 'lvs -o lv_name,lv_attr,lv_size,origin scratch'
_LIST = 'cinder list --fields name,status,size,bootable'
_HOST = "'lab@lvm#lvm'"


class Terminal:
    """Runs commands and prints them with their output."""

    def __init__(self, vg: ScratchVolumeGroup,
                 cinder: CinderDeployment) -> None:
        """Describe where the commands run."""
        endpoint, _, project = cinder.url.rpartition('/')
        self._cinder = (
            f'{sys.prefix}/bin/cinder --os-auth-type noauth '
            f'--os-endpoint {endpoint} --os-user-id admin '
            f'--os-project-id {project} --os-volume-api-version 3.66 ')
        self._environment = {**os.environ, **vg.environment}

    def run(self, command: str) -> str:
        """Print and run a command, and print and return its output."""
        prompt = '$' if command.startswith('cinder ') else '#'
        print(f'\n{prompt} {command}', flush=True)
        done = subprocess.run(
            ['bash', '-c', re.sub('^cinder ', self._cinder, command)],
            env=self._environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(done.stdout.rstrip(), flush=True)
        if done.returncode:
            raise SystemExit(f'exit status {done.returncode}')
        return done.stdout

    def id_from(self, command: str) -> str:
        """Run a command that prints a table, and return the id in it."""
        found = re.search(r'\| id +\| (\S+) ', self.run(command))
        if not found:
            raise SystemExit('no id in the output')
        return found[1]


def main() -> None:
    """Print the transcript."""
    with contextlib.ExitStack() as cleanup:
        vg = cleanup.enter_context(ScratchVolumeGroup(
            size=20 * units.Gi, device_mapper=True))
        _fill(vg)
        cinder = cleanup.enter_context(CinderDeployment(Backend(vg)))
        _MOUNT_POINT.mkdir()
        cleanup.callback(_MOUNT_POINT.rmdir)
        cleanup.callback(os.system, f'umount -q {_MOUNT_POINT}')
        _walk(vg, cinder, Terminal(vg, cinder))
        print()
        for line in cinder.log_text().splitlines():
            if re.search('(INFO|WARNING|ERROR) cinder_lvm_manage', line):
                print(line)


def _fill(vg: ScratchVolumeGroup) -> None:
    vg.create('web01', '1g')
    vg.create('db01', '1028m')
    vg.lvm('lvchange', '--addtag', 'owner=dba', f'{vg.name}/db01')
    vg.lvm('lvcreate', '--snapshot', '--name', 'db01-before-upgrade',
           '--size', '256m', f'{vg.name}/db01')
    vg.create('mail01', '512m')
    vg.lvm('lvchange', '--activate', 'n', f'{vg.name}/mail01')
    vg.lvm('lvcreate', '--type', 'thin-pool', '--name', 'pool',
           '--size', '1g', vg.name)


def _walk(vg: ScratchVolumeGroup, cinder: CinderDeployment,
          shell: Terminal) -> None:
    api = cinder.api
    shell.run('mkfs.ext4 -q /dev/scratch/web01 && '
              f'mount /dev/scratch/web01 {_MOUNT_POINT}')
    shell.run(_LVS)
    shell.run('lvs --noheadings -o lv_tags scratch/db01')
    shell.run(f'cinder manageable-list --detailed False {_HOST}')
    shell.run(f'cinder manageable-list {_HOST}')

    refused = shell.id_from(f'cinder manage --name web01 {_HOST} web01')
    api.wait(refused, 'error')
    shell.run(_LIST)
    shell.run(f'cinder delete {refused}')
    api.wait_until_gone(refused)
    shell.run(f'umount {_MOUNT_POINT}')
    web01 = shell.id_from(
        f'cinder manage --name web01 --bootable {_HOST} web01')
    api.wait(web01, 'available')

    db01 = shell.id_from(f'cinder manage --name db01 {_HOST} db01')
    api.wait(db01, 'available')
    mail01 = shell.id_from('cinder manage --name mail01 --id-type source-id '
                           f"{_HOST} {vg.names()['mail01']}")
    api.wait(mail01, 'available')
    shell.run(_LIST)
    shell.run('lvs -o lv_name,lv_attr,lv_size scratch')
    for volume in (db01, mail01):
        shell.run('lvs --noheadings -o lv_tags '
                  f'scratch/volume-{volume}')

    shell.run(f'cinder snapshot-manageable-list {_HOST}')
    snapshot = shell.id_from('cinder snapshot-manage --name before-upgrade '
                             f'{db01} db01-before-upgrade')
    api.wait(snapshot, 'available', kind='snapshot')
    shell.run('cinder snapshot-list')
    shell.run('lvs --noheadings -o lv_tags '
              f'scratch/_snapshot-{snapshot}')

    shell.run(f'cinder snapshot-unmanage {snapshot}')
    api.wait_until_gone(snapshot, kind='snapshot')
    for volume in (db01, mail01, web01):
        shell.run(f'cinder unmanage {volume}')
        api.wait_until_gone(volume)
    shell.run(_LVS)


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main()
