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

"""A test run, or a program of tests/shows, is stopped by a signal."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import psutil  # type: ignore[import-untyped]
import pytest
import tenacity

from tests.lab import polling

PYTEST = ('pytest', '--quiet', '-p', 'no:cacheprovider',
          'tests/integration/test_manageable_volumes_api.py',
          'tests/integration/test_unprivileged.py')
WORKERS = ('-n', '2', '--dist', 'loadfile')
DEMO = ('tests.shows.demo',)


def loop_devices(folder: pathlib.Path) -> list[str]:
    listed = subprocess.run(
        ['losetup', '--list', '--noheadings', '--output', 'BACK-FILE'],
        stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(folder) in line]


def mounts(folder: pathlib.Path) -> list[str]:
    return [line for line in pathlib.Path('/proc/self/mounts').open()
            if str(folder) in line]


def processes(folder: pathlib.Path) -> list[list[str]]:
    """Return the command lines of processes that have the folder as TMPDIR."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            words = [*process.cmdline(), *process.environ().values()]
            if any(str(folder) in word for word in words):
                found.append(process.cmdline())
    return found


def wait_until(happened: Callable[[], object],
               run: subprocess.Popen[bytes]) -> None:
    polling.wait_for('the moment to stop the run',
                     lambda: run.poll() is not None or happened(),
                     pause=tenacity.wait_fixed(0.05))
    assert run.returncode is None, 'the run ended before'


def a_group_is_made(folder: pathlib.Path) -> bool:
    return bool(loop_devices(folder))


def cinder_is_up(folder: pathlib.Path) -> bool:
    return any('listening on http:' in path.read_text()
               for path in folder.glob('*/cinder.log'))


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder for temporary files of a run, of which nothing else is left."""
    folder = tmp_path / 'stopped'
    folder.mkdir()
    yield folder
    polling.wait_for(
        'the end of loop devices, mounts and processes',
        lambda: [*loop_devices(folder), *mounts(folder), *processes(folder)],
        lambda left: not left)


def stop(folder: pathlib.Path, command: tuple[str, ...],
         moment: Callable[[pathlib.Path], bool], how: signal.Signals) -> int:
    """Start a program, stop it at a moment, and return its exit status."""
    # A pipe that is not read would block the program.
    with (folder.with_name('output').open('wb') as output,
          subprocess.Popen(
              [sys.executable, '-m', *command], stdout=output,
              stderr=subprocess.STDOUT,
              env=os.environ | {'TMPDIR': str(folder)}) as run):
        try:
            wait_until(lambda: moment(folder), run)
            run.send_signal(how)
            return run.wait(polling.SECONDS)
        finally:
            run.kill()


@pytest.mark.parametrize(('options', 'moment', 'how'), [
    ((), a_group_is_made, signal.SIGTERM), ((), cinder_is_up, signal.SIGINT),
    (WORKERS, cinder_is_up, signal.SIGTERM),
    (WORKERS, cinder_is_up, signal.SIGINT)])
def test_a_stopped_test_run_cleans_up(folder, tmp_path, options, moment, how):
    status = stop(folder, (*PYTEST, f'--basetemp={tmp_path}/inner', *options),
                  moment, how)
    assert status == pytest.ExitCode.INTERRUPTED
    assert list(folder.iterdir()) == []


def test_a_stopped_program_cleans_up(folder):
    assert stop(folder, DEMO, cinder_is_up, signal.SIGTERM) == -signal.SIGINT
    assert list(folder.iterdir()) == []


def test_a_killed_program_leaves_only_files(folder):
    assert stop(folder, DEMO, cinder_is_up, signal.SIGKILL) == -signal.SIGKILL
