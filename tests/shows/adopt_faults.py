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

"""A person's day with many LVs, and everything that can go wrong in it.

`python -m tests.shows.adopt_faults [LVS]`, as root, with a real Cinder. It
plans LVs of mixed kinds with their snapshots, edits the plan, kills the run,
stops it by Ctrl-C, lets the service stop reporting, kills Cinder, loses the
journal, and undoes first a part and then the rest. It prints a line for each
step, with what the command printed last and the seconds it took, and fails if
an LV does not have its name, UUID and tags again.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import pathlib
import signal
import sys
import tempfile
import time
from typing import Any

import yaml

from tests.lab import polling
from tests.lab import signals
from tests.lab import zoo
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.openstack_client import OpenStackClient
from tests.lab.scratch import ScratchVolumeGroup

LVS = 300
HOST = 'lab@lvm#lvm'
PARALLEL = 4


class Day:
    """The steps, each a method, on one plan.

    :ivar plan: its path
    """

    def __init__(self, cinder: CinderDeployment, group: ScratchVolumeGroup,
                 plan: pathlib.Path) -> None:
        self._cinder = cinder
        self._group = group
        self._client = OpenStackClient(cinder.url)
        self.plan = plan
        self.journal = pathlib.Path(f'{plan}.journal')

    def write_plan(self) -> None:
        """Plan all LVs, and edit the plan."""
        self._run('plan', '--host', HOST, '--snapshots', '--match', 'vm-*',
                  '--name-template', 'old-{name}', '--output', self.plan)
        content = yaml.safe_load(self.plan.read_text())
        content['volumes'][0]['volume'] |= {'name': 'first', 'bootable': True}
        self.plan.write_text(yaml.safe_dump(content, sort_keys=False))
        self._run('apply', self.plan, '--dry-run')

    def kill(self, done: int) -> None:
        """Apply, and kill the command after so many volumes."""
        self._interrupted('kill -9', done, lambda process: process.kill())

    def interrupt(self, done: int) -> None:
        """Resume, and press Ctrl-C after so many more."""
        self._interrupted('Ctrl-C', done, lambda process:
                          process.send_signal(signal.SIGINT))

    def lose_service(self, done: int) -> None:
        """Resume, and let the service stop reporting after so many more."""
        with contextlib.ExitStack() as later:
            self._interrupted('service down', done, lambda _:
                              later.enter_context(
                self._cinder.database.silent_service('lab@lvm')))
            self._run('undo', self.journal, '--dry-run', status=1)
        polling.wait_for('the service to be up', self._is_up)

    def restart_cinder(self, done: int) -> None:
        """Resume, and restart all of Cinder after so many more."""
        self._interrupted('Cinder killed', done, lambda _:
                          self._cinder.kill(with_commands=False))
        self._cinder.start()
        self._client = OpenStackClient(self._cinder.url)
        # What Cinder was doing when it was killed stays in that status.
        for volume in self._volumes('managing'):
            self._cinder.api.set_status(volume, 'error')
            self._cinder.api.delete(volume)
            self._cinder.api.wait_until_gone(volume)

    def complete(self) -> None:
        """Apply until all volumes are adopted."""
        for _ in range(3):
            if self._run('apply', self.plan, status=None) == 0:
                return
        raise SystemExit('the plan cannot be completed')

    def lose_journal(self) -> None:
        """Lose the journal, and find everything again."""
        self.journal.unlink()
        self._run('show', '--host', HOST, 'vm-007-disk-0', '-f', 'value',
                  '-c', 'Name', '-c', 'Former Name')
        self._run('recover', self.plan)

    def undo(self) -> None:
        """Undo a part, the rest with one volume in use, and that one."""
        self._run('undo', self.journal, '--match', 'vm-00*', '--yes')
        used = self._volumes('available')[0]
        self._act(used, 'os-reserve')
        self._run('undo', self.journal, '--yes', status=3)
        self._act(used, 'os-unreserve')
        self._run('undo', self.journal, '--yes')

    def _volumes(self, status: str) -> list[str]:
        return [volume['id'] for volume in self._cinder.api.request(
            'GET', 'volumes/detail', params={'status': status}
            ).body['volumes']]

    def _act(self, volume: str, action: str) -> None:
        self._cinder.api.request('POST', f'volumes/{volume}/action',
                                 {action: {}})

    def _is_up(self) -> bool:
        return all(service['state'] == 'up' for service
                   in self._cinder.api.request('GET', 'os-services'
                                               ).body['services']
                   if service['binary'] == 'cinder-volume')

    def _interrupted(self, what: str, done: int,
                     act: Callable[[Any], object]) -> None:
        started = time.monotonic()
        with self._client.running(
                'volume', 'adoption', 'apply', self.plan, '--parallel',
                PARALLEL, '--timeout', 120, until=done) as process:
            act(process)
            rest = process.stdout.read()
            _show(f'apply; {what}', process.wait(), started, rest)

    def _run(self, *arguments: object, status: int | None = 0) -> int:
        started = time.monotonic()
        done = self._client.run('volume', 'adoption', *arguments)
        _show(' '.join(str(getattr(word, 'name', word)) for word in arguments),
              done.returncode, started, done.stdout or done.stderr)
        if status not in (None, done.returncode):
            raise SystemExit(f'{done.stdout}{done.stderr}')
        return int(done.returncode)


def _show(what: str, status: int, started: float, printed: str) -> None:
    print(f'$ {what}\n  exit status {status}, '
          f'{time.monotonic() - started:.0f} s', flush=True)
    for line in printed.splitlines()[-4:]:
        print(f'  | {line}', flush=True)


def main(lvs: int) -> None:
    """Go through all steps."""
    with (tempfile.TemporaryDirectory() as folder,
          ScratchVolumeGroup('many') as group):
        group.restore(zoo.guests(lvs))
        before = group.report('lv_name', 'lv_uuid', 'lv_tags')
        with CinderDeployment(Backend(group, {
                'lvm_manage_without_device_mapper': 'true'})) as cinder:
            day = Day(cinder, group, pathlib.Path(folder, 'plan.yaml'))
            day.write_plan()
            day.kill(lvs // 10)
            day.interrupt(lvs // 10)
            day.lose_service(lvs // 10)
            day.restart_cinder(lvs // 10)
            day.complete()
            day.lose_journal()
            day.undo()
        if group.report('lv_name', 'lv_uuid', 'lv_tags') != before:
            raise SystemExit('the LVs are not as before')
    print('all LVs have their names, UUIDs and tags again')


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main(int(sys.argv[1]) if sys.argv[1:] else LVS)
