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

"""Samples of the contents of LVs, written by real tools.

make.py creates them. NAME.SIZE.xz has the first and last bytes of an LV of
SIZE bytes.
"""

from __future__ import annotations

import lzma
import pathlib
import struct
import typing

from cinder_lvm_manage import samples


class Recorded(typing.NamedTuple):
    """An LV's size in bytes, and its first and last bytes."""

    size: int
    head: bytes
    tail: bytes

    def write(self, path: pathlib.Path) -> None:
        """Create a file in place of the LV's device."""
        with open(path, 'wb') as device:
            device.write(self.head)
            device.seek(self.size - len(self.tail))
            device.write(self.tail)
            device.truncate(self.size)


def names() -> list[str]:
    """The names of all samples."""
    return sorted(path.name.split('.')[0] for path
                  in pathlib.Path(__file__).parent.glob('*.xz'))


def recorded(name: str) -> Recorded:
    """The sample of this name."""
    path, = pathlib.Path(__file__).parent.glob(f'{name}.*.xz')
    data = lzma.decompress(path.read_bytes())
    return Recorded(int(path.name.split('.')[1]), data[:samples.HEAD],
                    data[samples.HEAD:])


def changed(name: str, *changes: tuple[int, bytes]) -> Recorded:
    """The sample of this name with other bytes at these offsets."""
    sample = recorded(name)
    head = bytearray(sample.head)
    for offset, new in changes:
        head[offset:offset + len(new)] = new
    return sample._replace(head=bytes(head[:len(sample.head)]))


def ext4_with_label(label: bytes) -> Recorded:
    """The sample of ext4 with another label.

    libblkid 2.41 refuses a superblock whose checksum is wrong. This one has
    none, because it does not have the feature metadata_csum (0x400).
    """
    features, = struct.unpack_from('<I', recorded('ext4').head, 1024 + 100)
    return changed('ext4', (1024 + 120, label),
                   (1024 + 100, struct.pack('<I', features & ~0x400)))
