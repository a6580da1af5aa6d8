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

"""Writes numbers to a disk or reads them: writer.py write|read DEVICE.

Each number is written to the next block, read back and then printed; the first
block follows the last one. Writing ends when a request fails.
"""

import json
import mmap
import os
import sys

BLOCK = 4096
BLOCKS = 256


def _content(number: int) -> bytes:
    return number.to_bytes(8, 'big') * (BLOCK // 8)


def _read(disk: int, buffer: mmap.mmap, block: int) -> bytes:
    os.preadv(disk, [buffer], block * BLOCK)
    return buffer[:]


def main(what: str, device: str) -> None:
    """Write numbers from 1, or print those that were written as JSON."""
    # O_DIRECT avoids the page cache, which could answer in place of the disk.
    # It needs aligned memory.
    disk = os.open(device, os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, BLOCK)
    if what == 'read':
        found = []
        for block in range(BLOCKS):
            content = _read(disk, buffer, block)
            number = int.from_bytes(content[:8], 'big')
            if content != _content(number):
                raise ValueError(f'block {block} is torn or was never written')
            found.append(number)
        print(json.dumps(found))
        return
    number = 0
    while True:
        number += 1
        block = number % BLOCKS
        buffer[:] = _content(number)
        os.pwritev(disk, [buffer], block * BLOCK)
        if _read(disk, buffer, block) != _content(number):
            raise ValueError(f'block {block} is not what was written')
        print(number, flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
