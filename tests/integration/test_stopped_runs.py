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

"""A test run or a program of the labs is stopped by a signal."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil  # type: ignore[import-untyped]
import pytest

# It only keeps a run that hangs from doing so forever.
SECONDS = 600

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
    """Those that the run has started have the folder as their TMPDIR."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            words = [*process.cmdline(), *process.environ().values()]
            if any(str(folder) in word for word in words):
                found.append(process.cmdline())
    return found


def wait_until(happened: Callable[[], object],
               run: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert run.poll() is None, 'it has ended'
        assert time.monotonic() < deadline
        time.sleep(0.05)


def a_group_is_made(folder: pathlib.Path) -> bool:
    return bool(loop_devices(folder))


def cinder_is_up(folder: pathlib.Path) -> bool:
    return any('listening on http:' in path.read_text()
               for path in folder.glob('*/cinder.log'))


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """For the temporary files of a run; nothing is left after it."""
    folder = tmp_path / 'stopped'
    folder.mkdir()
    yield folder
    deadline = time.monotonic() + SECONDS
    while left := (loop_devices(folder) + mounts(folder)
                   + processes(folder)):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def stop(folder: pathlib.Path, command: tuple[str, ...],
         moment: Callable[[pathlib.Path], bool], how: signal.Signals) -> int:
    """Start a program, stop it at that moment, and return how it ended."""
    # With an output that nobody reads a program would wait.
    with (folder.with_name('output').open('wb') as output,
          subprocess.Popen(
              [sys.executable, '-m', *command], stdout=output,
              stderr=subprocess.STDOUT,
              env=os.environ | {'TMPDIR': str(folder)}) as run):
        try:
            wait_until(lambda: moment(folder), run)
            run.send_signal(how)
            return run.wait(SECONDS)
        finally:
            run.kill()


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(('options', 'moment'), [
    ((), a_group_is_made), ((), cinder_is_up), (WORKERS, cinder_is_up)])
def test_a_test_run(folder, tmp_path, options, moment, how):
    status = stop(folder, (*PYTEST, f'--basetemp={tmp_path}/inner', *options),
                  moment, how)
    assert status == pytest.ExitCode.INTERRUPTED
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT])
def test_a_program_of_the_labs(folder, how):
    assert stop(folder, DEMO, cinder_is_up, how) == -signal.SIGINT
    assert list(folder.iterdir()) == []


def test_a_program_that_is_killed_leaves_files_at_most(folder):
    assert stop(folder, DEMO, cinder_is_up, signal.SIGKILL) == -signal.SIGKILL
