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

"""Server processes that listen on 127.0.0.1 and do not outlive their lab.

Each process logs to a file. When its context manager ends, it is stopped with
all the processes that it has started. If the lab itself is killed, the kernel
terminates its servers.

mirakuru does not fit: it sends SIGTERM to the whole process group, so that the
commands of a service end before the service. It also creates the group with
Popen's preexec_fn, which takes too long in the guest of tests/run/guest.py.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import os
import pathlib
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from typing import Any

from tests.lab import polling


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nothing listens yet."""
    with socket.create_server(('127.0.0.1', 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def accepts(port: int, address: str = '127.0.0.1') -> bool:
    """Return whether a process listens on this port."""
    try:
        socket.create_connection((address, port), timeout=10).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def folder_of(user: str) -> Iterator[pathlib.Path]:
    """Make a temporary folder that belongs to a user of this machine."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        yield folder


@contextlib.contextmanager
def running(*command: str, log: pathlib.Path, up: Callable[[], object],
            environment: Mapping[str, str] | None = None,
            cwd: pathlib.Path | None = None, user: str | None = None,
            seconds_to_stop: float = 60) -> Iterator[subprocess.Popen[Any]]:
    """Run a command until the context ends, which begins when it is up.

    :param log: the file to which its standard output and error are appended
    :param up: returns whether the command can be used
    :param environment: variables besides those of this process
    :param user: the user it runs as, in that user's own group only; None for
        root
    :param seconds_to_stop: after SIGTERM, before it is killed
    :raises RuntimeError: it exited, or was not up in time
    """
    with log.open('ab') as file:
        process = start(
            *command, stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, env=os.environ | (environment or {}),
            cwd=cwd, user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None)

    def is_up() -> object:
        if process.poll() is not None:
            raise RuntimeError(f'exit status {process.returncode}')
        return up()

    try:
        try:
            polling.wait_for('its start', is_up)
        except (RuntimeError, TimeoutError) as error:
            raise RuntimeError(f'`{shlex.join(command)}` did not start: '
                               f'{error}:\n{_tail(log)}') from error
        yield process
    finally:
        stop(process, seconds_to_stop)


def start(*command: str, **options: Any) -> subprocess.Popen[Any]:
    """Start a command that receives SIGTERM when this process has ended.

    It has a session of its own, by which stop() finds what it has started.

    :param options: of Popen
    """
    return subprocess.Popen(['setpriv', '--pdeathsig', 'TERM', *command],
                            start_new_session=True, **options)


def stop(process: subprocess.Popen[Any], seconds: float) -> None:
    """Terminate a process that start() returned, then kill its session.

    :param seconds: before it is killed
    """
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(*command: str) -> int:
    """Run a program that cleans up on SIGTERM, and return its exit status.

    subprocess.run() would kill it when this process is interrupted.
    """
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            raise


def required(program: str, *folders: str) -> str:
    """Return the path of a program of bindep.txt.

    :raises RuntimeError: it is not installed
    """
    path = shutil.which(program, path=os.pathsep.join(
        [*folders, os.environ.get('PATH', os.defpath), '/usr/sbin']))
    if path is None:
        raise RuntimeError(f'{program} not found: install the packages of '
                           'bindep.txt')
    return path


def _tail(log: pathlib.Path) -> str:
    return '\n'.join(log.read_text(errors='replace').splitlines()[-40:])
