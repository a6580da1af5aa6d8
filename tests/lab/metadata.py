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

"""LVM's metadata of logical volumes as text, for vgcfgrestore.

Where each kind's words are from: lvm2's lib/format_text/flags.c and the
import functions of lib/*/*.c.
"""

from __future__ import annotations

from collections.abc import Iterable
import hashlib
from typing import Any

# 2026-01-01 00:00:00 UTC, so that recorded reports stay the same.
_CREATED = 1767225600

# The size of an extent of a group made by vgcreate without options.
EXTENT = 4 * 1024 * 1024


def lv_uuid(lv_name: str) -> str:
    """An LVM UUID that is always the same for a name."""
    digits = hashlib.sha256(lv_name.encode()).hexdigest()[:32]
    ends = (6, 10, 14, 18, 22, 26, 32)
    return '-'.join(digits[start:end]
                    for start, end in zip((0, *ends), ends, strict=False))


def segment(kind: str, extents: int, start: int = 0, /, **fields: Any) -> str:
    """One segment of an LV.

    :param fields: as LVM names them; a str is quoted, a list is put in
        brackets, an int is as it is
    """
    lines = [f'start_extent = {start}', f'extent_count = {extents}',
             f'type = "{kind}"']
    lines += [f'{name} = {_value(value)}' for name, value in fields.items()]
    return '\n'.join(lines)


def linear(first: int, extents: int, start: int = 0, pv: str = 'pv0') -> str:
    """A segment on consecutive extents of a physical volume.

    :param first: the number of the first of them there
    """
    return segment('striped', extents, start, stripe_count=1,
                   stripes=[pv, first])


def logical_volume(name: str, *segments: str,
                   status: Iterable[str] = ('READ', 'WRITE', 'VISIBLE'),
                   flags: Iterable[str] = (),
                   tags: Iterable[str] = ()) -> str:
    """An LV of these segments."""
    numbered = '\n'.join(f'segment{number} {{\n{text}\n}}'
                         for number, text in enumerate(segments, start=1))
    tag_line = f'tags = {_value(list(tags))}\n' if tags else ''
    return (f'{name} {{\nid = "{lv_uuid(name)}"\n'
            f'status = {_value(list(status))}\n'
            f'flags = {_value(list(flags))}\n{tag_line}'
            f'creation_time = {_CREATED}\ncreation_host = "lab"\n'
            f'segment_count = {len(segments)}\n{numbered}\n}}\n')


def logical_volumes(texts: Iterable[str]) -> str:
    """The section for ScratchVolumeGroup.restore."""
    return 'logical_volumes {\n' + ''.join(texts) + '}\n'


def _value(value: object) -> str:
    if isinstance(value, list):
        return '[' + ', '.join(map(_value, value)) + ']'
    return str(value) if isinstance(value, int) else f'"{value}"'
