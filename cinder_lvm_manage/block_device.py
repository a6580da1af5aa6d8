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

"""Who uses a block device, as far as the kernel tells anyone.

Reads /proc and /sys; runs no command. What a process has open is told to root
alone, and so is not told here.
"""

from __future__ import annotations

from collections.abc import Iterator
import os
import pathlib
import re

_MOUNTS = pathlib.Path('/proc/self/mountinfo')
_SWAPS = pathlib.Path('/proc/swaps')
_DEVICES = pathlib.Path('/sys/dev/block')


def users(device: str) -> list[str]:
    """Mounts, swaps and block devices that stand on this device.

    :param device: major:minor
    :returns: words for an operator, like 'mounted on /srv'; none if all that
        holds it open are processes, or mounts in another namespace
    """
    return [*(f'mounted on {point}' for point in _mount_points(device)),
            *('used as swap' for swap in _swaps() if swap == device),
            *(f'held by {holder}' for holder in _holders(device))]


def is_read_only(device: str) -> bool:
    """Return whether the kernel refuses writes to this device.

    :param device: major:minor; False for one that the kernel does not have
    """
    try:
        return _DEVICES.joinpath(device, 'ro').read_text().strip() == '1'
    except FileNotFoundError:
        return False


def _mount_points(device: str) -> Iterator[str]:
    # proc(5): mount ID, parent ID, major:minor, root, mount point, ...
    for line in _MOUNTS.read_text(errors='surrogateescape').splitlines():
        _, _, mounted, _, point, *_ = line.split(' ')
        if mounted == device:
            yield _unescaped(point)


def _swaps() -> Iterator[str]:
    for line in _SWAPS.read_text(errors='surrogateescape').splitlines()[1:]:
        path = pathlib.Path(_unescaped(line.split()[0]))
        if path.is_block_device():
            number = path.stat().st_rdev
            yield f'{os.major(number)}:{os.minor(number)}'


def _holders(device: str) -> Iterator[str]:
    for holder in sorted(_DEVICES.joinpath(device).glob('holders/*')):
        name = holder / 'dm' / 'name'
        yield name.read_text().strip() if name.exists() else holder.name


def _unescaped(path: str) -> str:
    # The kernel writes blanks and backslashes in octal.
    return re.sub(r'\\([0-7]{3})', lambda match: chr(int(match[1], 8)), path)
