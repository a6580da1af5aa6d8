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

The names of flags and fields are those of lvm2's lib/format_text/flags.c and
of the import functions in lib/*/*.c.
"""

from __future__ import annotations

from collections.abc import Iterable
import hashlib
from typing import Any

# 2026-01-01 00:00:00 UTC; constant, so that recorded reports do not change.
_CREATED = 1767225600

# vgcreate's default extent size, in bytes.
EXTENT = 4 * 1024 * 1024


def lv_uuid(lv_name: str) -> str:
    """Return an LVM UUID, which is the same each time for a name."""
    digits = hashlib.sha256(lv_name.encode()).hexdigest()[:32]
    ends = (6, 10, 14, 18, 22, 26, 32)
    return '-'.join(digits[start:end]
                    for start, end in zip((0, *ends), ends, strict=False))


def segment(kind: str, extents: int, start: int = 0, /, **fields: Any) -> str:
    """Return the text of one segment of an LV.

    :param kind: the segment type
    :param extents: the number of them
    :param start: the segment's first extent in the LV
    :param fields: by LVM's names; a str is quoted, a list is in brackets
    """
    lines = [f'start_extent = {start}', f'extent_count = {extents}',
             f'type = "{kind}"']
    lines += [f'{name} = {_value(value)}' for name, value in fields.items()]
    return '\n'.join(lines)


def linear(first: int, extents: int, start: int = 0, pv: str = 'pv0') -> str:
    """Return a segment on consecutive extents of a physical volume.

    :param first: the number of the first extent on the physical volume
    """
    return segment('striped', extents, start, stripe_count=1,
                   stripes=[pv, first])


def logical_volume(name: str, *segments: str,
                   status: Iterable[str] = ('READ', 'WRITE', 'VISIBLE'),
                   flags: Iterable[str] = (),
                   tags: Iterable[str] = ()) -> str:
    """Return the text of an LV with these segments."""
    numbered = '\n'.join(f'segment{number} {{\n{text}\n}}'
                         for number, text in enumerate(segments, start=1))
    tag_line = f'tags = {_value(list(tags))}\n' if tags else ''
    return (f'{name} {{\nid = "{lv_uuid(name)}"\n'
            f'status = {_value(list(status))}\n'
            f'flags = {_value(list(flags))}\n{tag_line}'
            f'creation_time = {_CREATED}\ncreation_host = "lab"\n'
            f'segment_count = {len(segments)}\n{numbered}\n}}\n')


def logical_volumes(texts: Iterable[str]) -> str:
    """Return the section that ScratchVolumeGroup.restore() needs."""
    return 'logical_volumes {\n' + ''.join(texts) + '}\n'


def _value(value: object) -> str:
    if isinstance(value, list):
        return '[' + ', '.join(map(_value, value)) + ']'
    return str(value) if isinstance(value, int) else f'"{value}"'
