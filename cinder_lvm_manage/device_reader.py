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

"""Script: copies the first and last bytes of devices to memory, as root.

It copies bytes and does not interpret them. Samples.READER runs it in Python's
isolated mode, with the standard library only.

A process that reads a hanging device cannot be stopped: the kernel may not
even kill it before the device answers. So child processes read the devices.
If one exceeds the time limit, the script ends without it.

Standard input is a JSON object:

- target: path of a memory file, /proc/PID/fd/N of the process that created it
- device_seconds: time limit for one device
- seconds: time limit for all devices
- devices: a list of [path, [[offset, length, position], ...]]; the bytes at
  this offset of the device are copied to this position of the target

Standard output is a JSON list: for each device, why it was not read; an empty
text if it was read, and null if it was not reached in time.
"""

from __future__ import annotations

from collections.abc import Sequence
import errno
import json
import os
import select
import signal
import sys
import time
from typing import Any

# Enough for a disk to reorder the reads, but few for a failing one.
_AT_ONCE = 8
_PAGE = 4096
_ZEROS = bytes(_PAGE)
# An error without a number of the operating system.
_UNKNOWN = 255


class Child:
    """A process that reads one device after another.

    :ivar pipe: the process writes the outcome of each device to it
    :ivar left: numbers of the devices without an outcome
    :ivar deadline: time limit for the next outcome
    """

    def __init__(self, request: dict[str, Any],
                 numbers: Sequence[int]) -> None:
        self.left = list(numbers)
        self._seconds = request['device_seconds']
        self.pipe, outcomes = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            try:
                _detach()
                for number in numbers:
                    path, extents = request['devices'][number]
                    error = _copy(path, extents, request['target'])
                    os.write(outcomes, bytes([error]))
            finally:
                os._exit(0)
        os.close(outcomes)
        self.deadline = time.monotonic() + self._seconds

    def reported(self) -> dict[int, int]:
        """Return the new outcomes, by the devices' numbers.

        An outcome is an error number, or 0 if the device was read. There are
        none if the process has ended.
        """
        errors = os.read(self.pipe, len(self.left))
        self.deadline = time.monotonic() + self._seconds
        return {self.left.pop(0): error for error in errors}

    def leave(self) -> None:
        """Kill the process without waiting until it ends."""
        os.kill(self._pid, signal.SIGKILL)
        os.close(self.pipe)


def read(request: dict[str, Any]) -> list[str | None]:
    """Copy the devices' bytes; return why each was not read.

    :returns: for each device an empty text if it was read, and None if it was
        not reached in time
    """
    os.close(_memory(request['target']))
    end = time.monotonic() + request['seconds']
    outcomes: list[str | None] = [None] * len(request['devices'])
    shares = [range(len(outcomes))[first::_AT_ONCE]
              for first in range(_AT_ONCE)]
    children = [Child(request, share) for share in shares if share]
    while children and time.monotonic() < end:
        next_deadline = min(end, *(child.deadline for child in children))
        ready, _, _ = select.select(
            [child.pipe for child in children], [], [],
            max(0, next_deadline - time.monotonic()))
        for child in list(children):
            if child.pipe in ready:
                reported = child.reported()
                for number, error in reported.items():
                    outcomes[number] = _outcome(error)
                if reported and child.left:
                    continue
                why = 'its reader ended'
            elif time.monotonic() >= child.deadline:
                why = f"no answer within {request['device_seconds']} seconds"
            else:
                continue
            child.leave()
            children.remove(child)
            if child.left:
                number, *rest = child.left
                outcomes[number] = f'not read: {why}'
                if rest:
                    children.append(Child(request, rest))
    for child in children:
        child.leave()
    return outcomes


def _memory(path: str) -> int:
    """Open the target, unless another file has taken its place."""
    target = os.open(path, os.O_RDWR)
    if not os.readlink(f'/proc/self/fd/{target}').startswith('/memfd:'):
        raise SystemExit(f'{path} is not a memory file')
    return target


def _detach() -> None:
    """Close the standard streams: others wait until they are closed."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)


def _copy(path: str, extents: Sequence[Sequence[int]], target: str) -> int:
    """Copy the extents of a device; return an error number, 0 for none."""
    blocks = []
    error = 0
    try:
        device = os.open(path, os.O_RDONLY)
        try:
            # Read ahead, which nothing uses, would double what is read.
            os.posix_fadvise(device, 0, 0, os.POSIX_FADV_RANDOM)
            for offset, length, position in extents:
                blocks.append((_read(device, offset, length), position))
        finally:
            os.close(device)
    except OSError as exc:
        error = exc.errno or _UNKNOWN
    # Only now: a process that hangs in a read must not keep the target.
    memory = _memory(target)
    for block, position in blocks:
        _write(block, memory, position)
    os.close(memory)
    return error


def _read(device: int, offset: int, length: int) -> bytes:
    """:raises OSError: the device ends before that"""
    block = b''
    while len(block) < length:
        part = os.pread(device, length - len(block), offset + len(block))
        if not part:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        block += part
    return block


def _write(block: bytes, memory: int, position: int) -> None:
    for start in range(0, len(block), _PAGE):
        page = block[start:start + _PAGE]
        # The memory already has zeros there, which use no memory.
        if page != _ZEROS:
            os.pwrite(memory, page, position + start)


def _outcome(error: int) -> str:
    if not error:
        return ''
    return (f'not read: {os.strerror(error)}' if error != _UNKNOWN
            else 'not read: unknown error')


if __name__ == '__main__':
    json.dump(read(json.load(sys.stdin)), sys.stdout)
