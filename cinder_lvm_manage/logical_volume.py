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

"""LogicalVolume: one row of LVM's report, with typed values."""

from __future__ import annotations

from collections.abc import Mapping
import datetime
import functools
import re
import typing

from oslo_utils import units

from cinder_lvm_manage.lv_attr import LVAttr
from cinder_lvm_manage.lv_attr import Open
from cinder_lvm_manage.lv_attr import SKIPPED
from cinder_lvm_manage.lv_attr import State
from cinder_lvm_manage.lv_attr import Target

# lvm2 lib/misc/lvm-string.c: validate_name, where NAME_LEN is 128 with the
# closing NUL, apply_lvname_restrictions and validate_tag.
_NAME = re.compile(r'(?!-)(?!\.{1,2}\Z)[A-Za-z0-9+_.-]{1,127}')
_RESERVED_PREFIXES = ('pvmove', 'snapshot')
_RESERVED_PARTS = (
    '_cdata', '_cmeta', '_corig', '_cpool', '_cvol', '_wcorig', '_mimage',
    '_mlog', '_rimage', '_rmeta', '_tdata', '_tmeta', '_vdata', '_imeta',
    '_iorig', '_pmspare', '_vorigin')
_TAG = re.compile(r'[A-Za-z0-9._+/=!:&#-]+')
_UUID = re.compile(r'[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}')
# lib/metadata/lv_manip.c, _lv_type_names, and the names of RAID levels.
_WORD = re.compile(r'[a-z0-9_]+')
_PERCENT = re.compile(r'(\d{1,3}\.\d\d)?')
# As VolumeGroup has LVM print it.
_TIME_FORMAT = '%Y-%m-%d_%H:%M:%S_%z'


def is_lv_name(name: object) -> typing.TypeGuard[str]:
    """Return whether LVM allows this as the name of a logical volume."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def is_lv_uuid(uuid: object) -> typing.TypeGuard[str]:
    """Return whether this has the form of a logical volume's UUID."""
    return isinstance(uuid, str) and _UUID.fullmatch(uuid) is not None


def unusable(name: str, vg_name: str) -> str:
    """Return why no LV of the group can be renamed to this; empty if one can.

    An LV can have such a name, because an older LVM allowed it.

    :param name: one that is_lv_name accepts
    """
    reserved = next(
        (part for part in _RESERVED_PREFIXES if name.startswith(part)),
        next((part for part in _RESERVED_PARTS if part in name), None))
    if reserved:
        return f'LVM reserves names with {reserved}'
    # lvm2 tools/lvrename.c
    longest = 128 - len(vg_name) - 3
    if len(name) > longest:
        return f'LVM allows {longest} characters in this volume group'
    return ''


# The report's fields that make a row, as LogicalVolume.from_report reads them.
FIELDS = ('lv_name', 'lv_uuid', 'lv_size', 'lv_attr', 'lv_role', 'lv_layout',
          'lv_autoactivation', 'lv_kernel_major', 'lv_kernel_minor',
          'origin', 'origin_size', 'pool_lv', 'lv_tags', 'data_percent',
          'lv_time')


class Activation(typing.NamedTuple):
    """Whether an LV has a device, now and after the next boot.

    :ivar active: None if LVM cannot determine it
    :ivar skipped: `lvchange --activate y` skips it
    :ivar automatic: it is activated when its physical volumes appear
    """

    active: bool | None
    skipped: bool
    automatic: bool


class LogicalVolume(typing.NamedTuple):
    """One logical volume at one moment.

    It is a named tuple, because there can be many: a frozen dataclass takes
    three times as long to create.

    :ivar visible: False for an LV that lvs shows in brackets
    :ivar size: the exact size of its device in bytes; for a thick snapshot
        that is its origin's size, not its room for changes
    :ivar lv_size: in bytes, as lvs shows it: a thick snapshot's room
    :ivar device: major:minor, as the kernel writes it; -1:-1 if it has none
    :ivar data_percent: how full a snapshot or pool is, as LVM prints it
    :ivar created: its time, as LVM prints it; empty if LVM recorded none
    """

    name: str
    visible: bool
    uuid: str
    size: int
    lv_size: int
    attr: LVAttr
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
        """Make one from a row of VolumeGroup.inventory's report.

        :raises KeyError, ValueError: the row lacks a field, or has a value
            that LVM cannot have printed
        """
        bracketed = row['lv_name']
        name = _name(bracketed)
        uuid = row['lv_uuid']
        if not is_lv_uuid(uuid):
            raise ValueError(f'lv_uuid {uuid!r} of LV {name}')
        roles = _words(row['lv_role'])
        # LVM always prints one of the two first.
        if roles[:1] not in (('public',), ('private',)):
            raise ValueError(f"lv_role {row['lv_role']!r} of LV {name}")
        layouts = _words(row['lv_layout'])
        if not layouts:
            raise ValueError(f'no lv_layout of LV {name}')
        lv_size = size(row['lv_size'])
        if not _PERCENT.fullmatch(row['data_percent']):
            raise ValueError(f"data_percent {row['data_percent']!r} of LV "
                             f'{name}')
        return cls(name=name,
                   visible=name is bracketed,
                   uuid=uuid,
                   size=(size(row['origin_size'])
                         if 'thicksnapshot' in roles else lv_size),
                   lv_size=lv_size,
                   attr=LVAttr.parse(row['lv_attr']),
                   roles=roles,
                   layouts=layouts,
                   origin=_name(row['origin']) if row['origin'] else '',
                   pool=_name(row['pool_lv']) if row['pool_lv'] else '',
                   automatic=flag(row['lv_autoactivation']),
                   device=device(row['lv_kernel_major'],
                                 row['lv_kernel_minor']),
                   tags=tags(row['lv_tags']),
                   data_percent=row['data_percent'],
                   created=row['lv_time'])

    @property
    def size_gib(self) -> int:
        """The size in whole GiB, rounded up, as Cinder records it."""
        return -(-self.size // units.Gi)

    @property
    def created_at(self) -> datetime.datetime | None:
        """When it was created; None if LVM recorded no time, or an absurd one.
        """
        try:
            return datetime.datetime.strptime(self.created.replace(' ', '_'),
                                              _TIME_FORMAT)
        except ValueError:
            return None

    @property
    def activation(self) -> Activation:
        """Its present activation."""
        return Activation(active={State.ACTIVE: True, State.INACTIVE: False}
                          .get(self.attr.state),
                          skipped=self.attr.skip_activation == SKIPPED,
                          automatic=self.automatic)

    @property
    def is_suspended(self) -> bool:
        """Whether its device is suspended, so that reading it would hang."""
        return self.attr.state in (
            State.SUSPENDED, State.SUSPENDED_INVALID_SNAPSHOT,
            State.SUSPENDED_MERGE_FAILED, State.SUSPENDED_NEEDS_CHECK)

    @property
    def is_open(self) -> bool:
        """Whether something on this host holds its device open."""
        return self.attr.open == Open.OPEN

    @property
    def is_in_use(self) -> bool:
        """Whether something other than LVM holds its device open.

        LVM itself holds pools and the parts of other LVs.
        """
        return self.is_open and 'private' not in self.roles

    @property
    def is_thin(self) -> bool:
        """Whether this is a volume in a thin pool, a snapshot included."""
        return 'thin' in self.layouts and 'pool' not in self.layouts

    @property
    def provisioning(self) -> str:
        """thin or thick, the values of a volume type's provisioning:type."""
        return 'thin' if self.is_thin else 'thick'

    @property
    def is_snapshot(self) -> bool:
        """Whether LVM keeps this as a snapshot, thick or thin."""
        return 'snapshot' in self.roles

    @property
    def has_unknown_segments(self) -> bool:
        """Whether it has segments of a type that this LVM does not know.

        lv_attr does not show it for an origin, RAID, mirror or thin LV.
        """
        return self.attr.target == Target.UNKNOWN

    @property
    def is_invalid_snapshot(self) -> bool:
        """Whether this thick snapshot has overflowed and lost its data."""
        return self.attr.state in (State.INVALID_SNAPSHOT,
                                   State.SUSPENDED_INVALID_SNAPSHOT)


def size(text: str) -> int:
    """Return a size in bytes, as LVM prints it with --units b --nosuffix.

    :raises ValueError: LVM cannot have printed this
    """
    if not text.isdecimal():
        raise ValueError(f'size {text!r}')
    return int(text)


def flag(text: str) -> bool:
    """Return a flag, as LVM prints it with --binary.

    :raises ValueError: LVM cannot have printed this
    """
    if text not in ('0', '1'):
        raise ValueError(f'flag {text!r}')
    return text == '1'


def device(major: str, minor: str) -> str:
    """Return the device's number as the kernel writes it, major:minor.

    :raises ValueError: LVM cannot have printed this
    """
    for number in major, minor:
        if not (number == '-1' or number.isdecimal()):
            raise ValueError(f'device number {major!r}, {minor!r}')
    return f'{major}:{minor}'


def _name(text: str) -> str:
    name = text[1:-1] if text[:1] == '[' and text[-1:] == ']' else text
    if not is_lv_name(name):
        raise ValueError(f'LV name {text!r}')
    return name


# There are few different roles, layouts and sets of tags among many LVs.
@functools.lru_cache(maxsize=1024)
def _words(field: str) -> tuple[str, ...]:
    return _items(field, _WORD)


@functools.lru_cache(maxsize=1024)
def tags(field: str) -> tuple[str, ...]:
    """Return the tags of an LV or a volume group.

    :raises ValueError: LVM cannot have printed this
    """
    return _items(field, _TAG)


def _items(field: str, form: re.Pattern[str]) -> tuple[str, ...]:
    items = tuple(field.split(',')) if field else ()
    for item in items:
        if not form.fullmatch(item):
            raise ValueError(f'list {field!r}')
    return items
