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

"""Numbers in messages, as people read them."""

from __future__ import annotations

from oslo_utils import units

_UNITS = (('GiB', units.Gi), ('MiB', units.Mi), ('KiB', units.Ki))


def size(number: int) -> str:
    """Return bytes in the largest unit up to GiB, like '4.5 MiB'.

    Three decimals show the smallest difference that LVM's extents make.
    """
    for name, unit in _UNITS:
        if number >= unit:
            return f'{number / unit:.3f}'.rstrip('0').rstrip('.') + f' {name}'
    return count(number, 'byte')


def count(number: int, noun: str) -> str:
    """Return '1 volume', '2 volumes' and so on."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def duration(seconds: float) -> str:
    """Return a time as people estimate it, like '40 s', '12 min', '3.5 h'."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    if seconds < 90 * 60:
        return f'{seconds / 60:.0f} min'
    return f'{seconds / 3600:.1f} h'


def printable(words: str) -> str:
    """Return text that others wrote, as a terminal may show it, in one line.

    Control characters, and others that cannot be printed, are escaped: they
    could move the cursor and forge lines.
    """
    return ''.join(each if each.isprintable()
                   else each.encode('unicode_escape').decode()
                   for each in words)
