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

"""Nodes: hosts with a kernel, a network and a disk that they share.

A node is a guest kernel on this machine's root file system. It can be killed
as by a power failure, and its network can be cut off. All nodes are on one
bridge, at which this machine has an address too. Run the lab in a network
namespace of its own (`unshare --net`): its servers listen on that bridge.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import threading
import time

from oslo_utils import units

from tests.lab import polling
from tests.run import guest
from tests.run import machine
from tests.run import virtual_machine

_BRIDGE = 'lab'
# This machine's address on the bridge; the nodes have those from 10.9.0.1.
ADDRESS = '10.9.0.254'
_AGENT = pathlib.Path(__file__).with_name('node_agent.py')
_DISK_BYTES = 16 * units.Gi


@dataclasses.dataclass(frozen=True)
class Answer:
    """The result of a command.

    :ivar output: its standard output and error
    :ivar seconds: from the request to the answer
    """

    status: int
    output: str
    seconds: float


class CommandFailed(Exception):
    """A command exited with a status other than 0."""


@contextlib.contextmanager
def network() -> Iterator[None]:
    """Make the bridge, in a network namespace that nobody else uses.

    :raises RuntimeError: this is the network namespace of the machine
    """
    links = {link['ifname'] for link in json.loads(
        _output('ip', '-json', 'link', 'show'))}
    if links != {'lo'}:
        raise RuntimeError('run this in a network namespace of its own: '
                           'unshare --net COMMAND')
    _output('ip', 'link', 'set', 'lo', 'up')
    _output('ip', 'link', 'add', _BRIDGE, 'type', 'bridge')
    try:
        _output('ip', 'address', 'add', f'{ADDRESS}/24', 'dev', _BRIDGE)
        _output('ip', 'link', 'set', _BRIDGE, 'up')
        yield
    finally:
        _output('ip', 'link', 'delete', _BRIDGE)


@contextlib.contextmanager
def shared_disk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Make the image of a disk that several nodes can use."""
    path = folder / 'disk'
    with path.open('wb') as file:
        file.truncate(_DISK_BYTES)
    try:
        yield path
    finally:
        path.unlink()


# Boots a node. Its arguments are the node, and the file descriptor of the
# socket that is the node's serial line.
Boot = Callable[['Node', int], 'subprocess.Popen[bytes]']


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of node.

    :ivar boot: starts it, in a session of its own
    :ivar system: how its kernel differs from those of other kinds
    :ivar line: the node's device of the serial line
    :ivar watchdog: whether it has one
    """

    boot: Boot
    system: machine.System
    line: str
    watchdog: bool = False

    @property
    def disk(self) -> str:
        """The node's device of the shared disk."""
        return self.system.disk


class Node:
    """A context manager: a host that is up.

    :ivar number: from 1
    :ivar name: its host name
    :ivar address: its IP address
    :ivar folder: for its files, on this machine
    :ivar disk: the image of the shared disk; None if it has none
    :ivar kind: of its kernel
    """

    def __init__(self, number: int, folder: pathlib.Path,
                 disk: pathlib.Path | None, kind: Kind) -> None:
        self.number = number
        self.name = f'node{number}'
        self.address = f'10.9.0.{number}'
        self.tap = f'node{number}'
        self.folder = folder / self.name
        self.disk = disk
        self.kind = kind
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Node:
        self.folder.mkdir()
        _output('ip', 'tuntap', 'add', self.tap, 'mode', 'tap')
        _output('ip', 'link', 'set', self.tap, 'master', _BRIDGE, 'up')
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process:
            self.kill()
        _output('ip', 'link', 'delete', self.tap)

    @property
    def console(self) -> pathlib.Path:
        """The path of its console's log."""
        return self.folder / 'console.log'

    def start(self) -> None:
        """Boot it; call this to boot it again after kill()."""
        init = self.folder / 'init'
        init.write_text('\n'.join((
            '#!/bin/bash', machine.set_up(self.kind.system, self.folder),
            f'hostname {self.name}',
            f'ip address add {self.address}/24 dev eth0',
            'ip link set eth0 up',
            shlex.join(['/usr/bin/python3', str(_AGENT), self.kind.line]),
            'halt -f -p', '')))
        init.chmod(0o755)
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = self.kind.boot(self, theirs.fileno())
        self._line = ours
        self._numbers = itertools.count(1)
        self._sending = threading.Lock()
        # When the agent is up, it sends an answer with the number 0.
        self._waiting = {0: futures.Future[Answer]()}
        up = self._waiting[0]
        threading.Thread(target=self._receive, args=(ours, self._waiting),
                         daemon=True).start()
        try:
            up.result(polling.SECONDS)
        except BaseException as error:
            raise RuntimeError(f'{self.name} is not up:\n' + self.console
                               .read_text(errors='replace')[-4000:]) from error

    def kill(self) -> None:
        """Stop it at once, as a power failure does."""
        assert self._process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        self._line.close()

    def cut_off(self) -> None:
        """Disconnect its network."""
        _output('ip', 'link', 'set', self.tap, 'down')

    def reconnect(self) -> None:
        """Connect its network again."""
        _output('ip', 'link', 'set', self.tap, 'up')

    def lose_disk(self) -> None:
        """Make each request to the shared disk fail, which must be SCSI."""
        disk = pathlib.Path(self.kind.disk).name
        self.output(f'echo offline >/sys/block/{disk}/device/state')

    @property
    def is_running(self) -> bool:
        """Whether it runs: it was not killed and has not stopped by itself."""
        return self._process is not None and self._process.poll() is None

    def begin(self, command: str) -> futures.Future[Answer]:
        """Start a shell command, and return a future of its result.

        If the node stops, the future raises ConnectionError.
        """
        number = next(self._numbers)
        answer: futures.Future[Answer] = futures.Future()
        self._waiting[number] = answer
        began = time.monotonic()
        request = json.dumps({'number': number, 'command': command})
        with self._sending:
            self._line.sendall(request.encode() + b'\n')
        timed: futures.Future[Answer] = futures.Future()

        def pass_on(done: futures.Future[Answer]) -> None:
            if error := done.exception():
                timed.set_exception(error)
            else:
                timed.set_result(dataclasses.replace(
                    done.result(), seconds=time.monotonic() - began))

        answer.add_done_callback(pass_on)
        return timed

    def run(self, command: str, seconds: float = polling.SECONDS) -> Answer:
        """Run a shell command, and return its result."""
        return self.begin(command).result(seconds)

    def output(self, command: str, seconds: float = polling.SECONDS) -> str:
        """Run a shell command, and return its output.

        :raises CommandFailed: its exit status is not 0
        """
        answer = self.run(command, seconds)
        if answer.status:
            raise CommandFailed(f'{self.name}: `{command}` exited with '
                                f'{answer.status}: {answer.output}')
        return answer.output

    @staticmethod
    def _receive(line: socket.socket,
                 waiting: dict[int, futures.Future[Answer]]) -> None:
        try:
            with line.makefile('rb') as lines:
                for text in lines:
                    # The kernel may have printed something before it.
                    start = text.find(b'{')
                    if start < 0:
                        continue
                    fields = json.loads(text[start:])
                    waiting.pop(fields['number']).set_result(Answer(
                        fields['status'], fields['output'], 0))
        except OSError:
            pass
        for answer in waiting.values():
            answer.set_exception(ConnectionError('the node has stopped'))


def _boot_guest(node: Node, line: int) -> subprocess.Popen[bytes]:
    with node.console.open('ab') as console:
        return guest.boot(
            node.folder, 'mem=1G',
            *([f'ubdac={node.disk}'] if node.disk else []),
            f'con1=fd:{line},fd:{line}',
            f'vec0:transport=tap,ifname={node.tap},depth=128,'
            f'mac=52:54:00:09:00:{node.number:02x}',
            pass_fds=(line,), stdout=console, stderr=console)


USER_MODE_LINUX = Kind(
    boot=_boot_guest, system=dataclasses.replace(
        guest.SYSTEM, overlays=('etc', 'var'),
        before_disk='ip link set vec0 name eth0'), line='/dev/tty1')


def _boot_machine(node: Node, line: int) -> subprocess.Popen[bytes]:
    return virtual_machine.boot(
        node.folder, node.console, '-m', '2G',
        '-chardev', f'socket,id=agent,fd={line}', '-serial', 'chardev:agent',
        '-drive', f'file={node.disk},if=none,id=shared,format=raw,cache=none,'
                  'file.locking=off',
        '-device', 'virtio-scsi-pci', '-device', 'scsi-hd,drive=shared',
        '-netdev', f'tap,id=lab,ifname={node.tap},script=no,downscript=no',
        '-device', 'virtio-net-pci,netdev=lab,'
                   f'mac=52:54:00:09:00:{node.number:02x}',
        '-device', 'i6300esb', '-action', 'watchdog=reset',
        pass_fds=(line,))


VIRTUAL_MACHINE = Kind(
    boot=_boot_machine, system=dataclasses.replace(
        virtual_machine.SYSTEM, disk='/dev/sda', before_modules='',
        modules=('virtio_scsi', 'virtio_net', 'i6300esb')), line='/dev/ttyS1',
    watchdog=True)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, text=True,
                          stdout=subprocess.PIPE).stdout
