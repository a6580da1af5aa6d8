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

"""LogicalVolume: one row of LVM's report, typed; it decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
import functools
import re
import typing

from oslo_utils import units

# What LVM accepts as the name of an LV: lvm2 lib/misc/lvm-string.c,
# validate_name; NAME_LEN is 128 with the closing NUL.
_NAME = re.compile(r'(?!-)(?!\.{1,2}\Z)[A-Za-z0-9+_.-]{1,127}')
_UUID = re.compile(r'[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}')


def is_lv_name(name: object) -> typing.TypeGuard[str]:
    """Whether LVM would allow this as a logical volume's name."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def is_lv_uuid(uuid: object) -> typing.TypeGuard[str]:
    """Whether this has the form of a logical volume's UUID."""
    return isinstance(uuid, str) and _UUID.fullmatch(uuid) is not None

# The report's fields that make a row, as LogicalVolume.from_report reads them.
FIELDS = ('lv_name', 'lv_uuid', 'lv_size', 'lv_attr', 'lv_role', 'lv_layout',
          'lv_autoactivation', 'lv_kernel_major', 'lv_kernel_minor',
          'origin', 'origin_size', 'pool_lv', 'lv_tags', 'data_percent',
          'lv_time')


class Activation(typing.NamedTuple):
    """Whether an LV has a device, now and after the next boot.

    :ivar active: None where LVM cannot tell
    :ivar skipped: `lvchange --activate y` passes it over
    :ivar automatic: it is activated when its physical volumes appear
    """

    active: bool | None
    skipped: bool
    automatic: bool


class Shape(typing.NamedTuple):
    """What LVs of one kind in one state have in common."""

    attr: str
    roles: tuple[str, ...]
    layouts: tuple[str, ...]


class LogicalVolume(typing.NamedTuple):
    """One logical volume at one moment.

    A named tuple, for there may be many: a frozen dataclass takes three times
    as long to make.

    :ivar attr: the ten characters of lv_attr, see lvs(8)
    :ivar visible: False for the LVs that lvs shows in brackets
    :ivar size: in bytes, exact, as a reader of its device sees it; for a
        thick snapshot that is its origin's size, not its room for changes
    :ivar lv_size: in bytes, as lvs shows it: for a thick snapshot its room
    :ivar device: major:minor, as the kernel writes it; -1:-1 while it has none
    :ivar data_percent: how full a snapshot or pool is, as LVM prints it
    """

    name: str
    visible: bool
    uuid: str
    size: int
    lv_size: int
    attr: str
    roles: tuple[str, ...]
    layouts: tuple[str, ...]
    origin: str
    pool: str
    automatic: bool
    device: str
    tags: tuple[str, ...]
    data_percent: str
    created: str

    @classmethod
    def from_report(cls, row: Mapping[str, str]) -> LogicalVolume:
        """Make one from a row of `lvs -a --units b --nosuffix`.

        :raises KeyError, ValueError: the row lacks a field or has none of
            the form that LVM gives it
        """
        name = row['lv_name']
        if len(row['lv_attr']) != 10:
            raise ValueError(f"lv_attr {row['lv_attr']!r} of LV {name}")
        roles = _words(row['lv_role'])
        lv_size = int(row['lv_size'])
        return cls(name=name.strip('[]'),
                   visible=not name.startswith('['),
                   uuid=row['lv_uuid'],
                   size=(int(row['origin_size']) if 'thicksnapshot' in roles
                         else lv_size),
                   lv_size=lv_size,
                   attr=row['lv_attr'],
                   roles=roles,
                   layouts=_words(row['lv_layout']),
                   origin=row['origin'].strip('[]'),
                   pool=row['pool_lv'].strip('[]'),
                   automatic=row['lv_autoactivation'] == '1',
                   device=f"{row['lv_kernel_major']}:"
                          f"{row['lv_kernel_minor']}",
                   tags=_words(row['lv_tags']),
                   data_percent=row['data_percent'],
                   created=row['lv_time'])

    @property
    def size_gib(self) -> int:
        """The size in whole GiB, rounded up: what Cinder is to record."""
        return -(-self.size // units.Gi)

    @property
    def shape(self) -> Shape:
        """Its kind and state, without what it has of its own."""
        return Shape(self.attr, self.roles, self.layouts)

    @property
    def activation(self) -> Activation:
        """Its activation now."""
        return Activation(active={'a': True, '-': False}.get(self.attr[4]),
                          skipped=self.attr[9] == 'k',
                          automatic=self.automatic)

    @property
    def is_open(self) -> bool:
        """Whether something on this host holds its device open."""
        return self.attr[5] == 'o'

    @property
    def is_thin(self) -> bool:
        """Whether this is a volume in a thin pool, a snapshot included."""
        return 'thin' in self.layouts and 'pool' not in self.layouts

    @property
    def provisioning(self) -> str:
        """As volume types have it: thin or thick."""
        return 'thin' if self.is_thin else 'thick'

    @property
    def is_snapshot(self) -> bool:
        """Whether LVM keeps this as a snapshot, thick or thin."""
        return 'snapshot' in self.roles

    @property
    def is_invalid_snapshot(self) -> bool:
        """Whether this thick snapshot has overflowed and lost its data."""
        return self.attr[4] in 'IS'


# There are few different roles, layouts and sets of tags among many LVs.
@functools.lru_cache(maxsize=1024)
def _words(field: str) -> tuple[str, ...]:
    return tuple(field.split(',')) if field else ()
