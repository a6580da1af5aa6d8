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

"""Servers as processes of one's own, stopped by their own ids.

Whatever is started here listens on 127.0.0.1 only, logs to a file, and is gone
with all that it started when its context manager ends. If this process is
killed instead, the kernel terminates what it has started.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from typing import Any

_SECONDS_TO_START = 600
_SECONDS_TO_STOP = 60


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens yet."""
    with socket.create_server(('127.0.0.1', 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def accepts(port: int) -> bool:
    """Whether something listens on this port of 127.0.0.1."""
    try:
        socket.create_connection(('127.0.0.1', port), timeout=10).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def folder_of(user: str) -> Iterator[pathlib.Path]:
    """A temporary folder that belongs to a user of this machine."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        yield folder


@contextlib.contextmanager
def running(*command: str, log: pathlib.Path, up: Callable[[], bool],
            environment: Mapping[str, str] | None = None,
            cwd: pathlib.Path | None = None,
            user: str | None = None) -> Iterator[subprocess.Popen[Any]]:
    """Within it, the command runs and is up.

    :param log: where its standard output and error go
    :param up: tells whether it can be used
    :param environment: more for its environment
    :param user: who it runs as, in that user's own group alone; None for root
    :raises RuntimeError: it ended, or is not up after ten minutes
    """
    with log.open('wb') as file:
        process = start(
            *command, stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, env=os.environ | (environment or {}),
            cwd=cwd, user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None)
    try:
        deadline = time.monotonic() + _SECONDS_TO_START
        while not up():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"`{' '.join(command)}` did not start:\n"
                                   f'{_tail(log)}')
            time.sleep(0.2)
        yield process
    finally:
        stop(process, _SECONDS_TO_STOP)


def start(*command: str, **options: Any) -> subprocess.Popen[Any]:
    """Start a command that receives SIGTERM when this process has ended.

    It has a session of its own, so that whatever it starts can be found.

    :param options: of Popen
    """
    return subprocess.Popen(['setpriv', '--pdeathsig', 'TERM', *command],
                            start_new_session=True, **options)


def stop(process: subprocess.Popen[Any], seconds: float) -> None:
    """Terminate it; after so long, or when it has ended, its whole session."""
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    finally:
        # What it has started ends when it does; nothing may outlive the lab.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(*command: str) -> int:
    """The exit status of a program that cleans up when it is terminated.

    subprocess.run() kills what it runs when it is interrupted.
    """
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            raise


def required(program: str, *folders: str) -> str:
    """The path of a program of bindep.txt's profile tempest.

    :raises RuntimeError: it is not installed
    """
    path = shutil.which(program, path=os.pathsep.join(
        [*folders, os.environ.get('PATH', os.defpath), '/usr/sbin']))
    if path is None:
        raise RuntimeError(f'no {program} here: see the profile tempest of '
                           'bindep.txt')
    return path


def _tail(log: pathlib.Path) -> str:
    return '\n'.join(log.read_text(errors='replace').splitlines()[-40:])
