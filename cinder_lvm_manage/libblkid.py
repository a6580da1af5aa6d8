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

"""Script: prints what libblkid finds in samples of devices.

The bytes are untrusted and libblkid is written in C. So it runs without
privileges in a process of its own, with limits on time and memory. If it
crashes on a sample, the caller knows on which one, and starts it again.

It is called through its C interface because blkid(8) replaces the non-ASCII
characters of labels.

Standard input is a JSON object:

- samples: path of a memory file, /proc/PID/fd/N of the process that created it
- seconds: time limit for all samples
- devices: a list of [size, [[offset, length, position], ...]]; the bytes at
  this position of the memory file are at this offset of a device of this size

Standard output is a line once libblkid is loaded, and then a line of JSON for
each device: an object of libblkid's names and values, or null if it found
contradictory signatures.
"""

from __future__ import annotations

from collections.abc import Sequence
import ctypes
import json
import os
import resource
import signal
import sys
import time

# Time limit for one sample, which takes less than a millisecond.
_SECONDS = 2
_MEMORY = 1 << 30
_PAGE = 4096
_ZEROS = bytes(_PAGE)

# blkid.h: the values to read from superblocks.
_SUPERBLOCK_VALUES = (1 << 1  # label
                      | 1 << 5  # type
                      | 1 << 7)  # usage
_CONTRADICTORY = -2
_NOTHING = 1


class Libblkid:
    """The functions of libblkid that this script uses, as in blkid.h."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL('libblkid.so.1')
        self._declare('blkid_new_probe', result=ctypes.c_void_p)
        self._declare('blkid_free_probe', ctypes.c_void_p, result=None)
        self._declare('blkid_probe_set_device', ctypes.c_void_p, ctypes.c_int,
                      ctypes.c_int64, ctypes.c_int64)
        self._declare('blkid_probe_set_superblocks_flags', ctypes.c_void_p,
                      ctypes.c_int)
        self._declare('blkid_probe_enable_partitions', ctypes.c_void_p,
                      ctypes.c_int)
        self._declare('blkid_do_safeprobe', ctypes.c_void_p)
        self._declare('blkid_probe_numof_values', ctypes.c_void_p)
        self._declare('blkid_probe_get_value', ctypes.c_void_p, ctypes.c_int,
                      ctypes.POINTER(ctypes.c_char_p),
                      ctypes.POINTER(ctypes.c_void_p),
                      ctypes.POINTER(ctypes.c_size_t))

    def values(self, device: int, size: int) -> dict[str, str] | None:
        """Return the names and values found; None if contradictory.

        :param device: its file descriptor
        :param size: its length in bytes
        :raises OSError: libblkid failed
        """
        library = self._library
        probe = library.blkid_new_probe()
        try:
            if library.blkid_probe_set_device(probe, device, 0, size):
                raise OSError('libblkid cannot use the sample')
            library.blkid_probe_set_superblocks_flags(probe,
                                                      _SUPERBLOCK_VALUES)
            library.blkid_probe_enable_partitions(probe, 1)
            result = library.blkid_do_safeprobe(probe)
            if result == _CONTRADICTORY:
                return None
            if result not in (0, _NOTHING):
                raise OSError(f'blkid_do_safeprobe: {result}')
            return dict(self._value(probe, number) for number
                        in range(library.blkid_probe_numof_values(probe)))
        finally:
            library.blkid_free_probe(probe)

    def _value(self, probe: int, number: int) -> tuple[str, str]:
        name = ctypes.c_char_p()
        data = ctypes.c_void_p()
        length = ctypes.c_size_t()
        self._library.blkid_probe_get_value(
            probe, number, ctypes.byref(name), ctypes.byref(data),
            ctypes.byref(length))
        value = ctypes.string_at(data.value or 0, length.value)
        return ((name.value or b'').decode(), value.rstrip(b'\0').decode(
            errors='surrogateescape'))

    def _declare(self, function: str, *arguments: object,
                 result: type | None = ctypes.c_int) -> None:
        declared = getattr(self._library, function)
        declared.argtypes = arguments
        declared.restype = result


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    samples = os.open(request['samples'], os.O_RDONLY)
    libblkid = Libblkid()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The parent may have blocked it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    print('libblkid', flush=True)
    end = time.monotonic() + request['seconds']
    for size, extents in request['devices']:
        if time.monotonic() > end:
            break
        # No handler: the signal ends the process.
        signal.alarm(_SECONDS)
        device = _device(samples, size, extents)
        print(json.dumps(libblkid.values(device, size)), flush=True)
        os.close(device)


def _device(samples: int, size: int, extents: Sequence[Sequence[int]]) -> int:
    """Return a file like the device, with zeros between the extents."""
    device = os.memfd_create('device')
    os.ftruncate(device, size)
    for offset, length, position in extents:
        data = os.pread(samples, length, position)
        for start in range(0, len(data), _PAGE):
            page = data[start:start + _PAGE]
            # Pages of zeros would only cost page faults.
            if page != _ZEROS:
                os.pwrite(device, page, offset + start)
    return device


if __name__ == '__main__':
    main()
