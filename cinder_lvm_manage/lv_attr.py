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

"""The ten characters of lv_attr, each with its name, as lvs(8) lists them."""

from __future__ import annotations

import functools
import re
import typing

_FORM = re.compile(r'[A-Za-z-]{10}')


class VolumeType:
    """What an LV is, or is being turned into; only the types used here."""

    CONVERTING = 'c'
    MERGING_ORIGIN = 'O'
    MERGING_SNAPSHOT = 'S'
    ORIGIN = 'o'
    PVMOVE = 'p'
    VIRTUAL = 'v'


class Permissions:
    """Whether an LV can be written to."""

    READ_ONLY = 'r'
    READ_ONLY_ACTIVATION = 'R'


class State:
    """The state of an LV's device in the kernel."""

    ACTIVE = 'a'
    HISTORICAL = 'h'
    INACTIVE = '-'
    INACTIVE_TABLE = 'i'
    INVALID_SNAPSHOT = 'I'
    MERGE_FAILED = 'm'
    NEEDS_CHECK = 'c'
    NO_TABLE = 'd'
    SUSPENDED = 's'
    SUSPENDED_INVALID_SNAPSHOT = 'S'
    SUSPENDED_MERGE_FAILED = 'M'
    SUSPENDED_NEEDS_CHECK = 'C'


class Open:
    """Whether something on this host holds an LV's device open."""

    OPEN = 'o'


class Target:
    """Which target type of the kernel an LV relates to."""

    UNKNOWN = 'u'


class Health:
    """What is wrong with an LV."""

    ERROR = 'E'
    FAILED = 'F'
    METADATA_READ_ONLY = 'M'
    MISMATCHES = 'm'
    OUT_OF_DATA = 'D'
    PARTIAL = 'p'
    REFRESH = 'r'
    REMOVE = 'R'
    RESHAPING = 's'


# LVM did not ask the kernel, or got no answer.
UNDETERMINED = 'X'
SKIPPED = 'k'


class LVAttr(typing.NamedTuple):
    """lv_attr, one character for each place."""

    volume_type: str
    permissions: str
    allocation: str
    fixed_minor: str
    state: str
    open: str
    target: str
    zero: str
    health: str
    skip_activation: str

    @classmethod
    def parse(cls, text: str) -> LVAttr:
        """Name the characters of lv_attr as LVM prints it.

        :raises ValueError: LVM cannot have printed this
        """
        return _parsed(text)

    def __str__(self) -> str:
        return ''.join(self)

    @property
    def undetermined(self) -> bool:
        """Whether LVM cannot determine the LV's state, use or health."""
        return UNDETERMINED in (self.state, self.open, self.health)

    @property
    def unknown(self) -> bool:
        """Whether it has a character that LVM is not known to print."""
        return any(character not in known
                   for character, known in zip(self, _KNOWN, strict=True))


# lvm2 lib/metadata/lv.c, lv_attr_dup_with_info_and_seg_status, up to 2.03.40.
# V and v are thin and virtual; the pools and their parts are t, T, d, D, e.
_KNOWN = LVAttr(
    volume_type='-CDIMORSTVcdegilmoprstv',
    permissions='-Rrw',
    allocation='-ACILNaciln',
    fixed_minor='-m',
    state='-CIMSXacdhims',
    open='-Xo',
    target='-Cmrstuv',
    zero='-z',
    health='-DEFMRXmprsw',
    skip_activation='-k')


# There are few different ones among many LVs.
@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> LVAttr:
    if not _FORM.fullmatch(text):
        raise ValueError(f'lv_attr {text!r}')
    return LVAttr(*text)
