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

"""Inventory: every logical volume of one group at one moment."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import json
import re
import typing

from cinder_lvm_manage import block_device
from cinder_lvm_manage import errors
from cinder_lvm_manage import logical_volume
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.reference import Reference

_PERMISSIONS = ('writeable', 'read-only')
# lvm2 lib/cache/lvmcache.c, lib/metadata/metadata.c and segtype.c. LVM has no
# field for these; it only prints warnings beside the report.
_DUPLICATE = re.compile(r'Not using device (\S+) for PV ([A-Za-z0-9-]+)')
_NO_LOCK = re.compile(r'Reading VG \S+ without a lock')
_UNKNOWN_TYPE = re.compile(r'Unrecognised segment type (\S+)')


@dataclasses.dataclass(frozen=True)
class PhysicalVolume:
    """A physical volume of the group.

    :ivar name: the path of its device; [unknown] if it is missing
    :ivar device: major:minor, as the kernel writes it
    :ivar free: bytes that can be allocated to an LV
    """

    name: str
    uuid: str
    device: str
    free: int

    # The report's fields that make one, as from_report reads them.
    FIELDS: typing.ClassVar = (
        'pv_name', 'pv_uuid', 'pv_major', 'pv_minor', 'pv_free',
        'pv_allocatable')

    @classmethod
    def from_report(cls, row: Mapping[str, str]) -> PhysicalVolume:
        """Make one from a row of VolumeGroup.inventory's report.

        :raises KeyError, ValueError: the row lacks a field, or has a value
            that LVM cannot have printed
        """
        if not logical_volume.is_lv_uuid(row['pv_uuid']):
            raise ValueError(f"pv_uuid {row['pv_uuid']!r}")
        free = logical_volume.size(row['pv_free'])
        return cls(row['pv_name'], row['pv_uuid'],
                   logical_volume.device(row['pv_major'], row['pv_minor']),
                   free if logical_volume.flag(row['pv_allocatable']) else 0)


@dataclasses.dataclass(frozen=True)
class Images:
    """How an LV's extents are laid out over several physical volumes.

    :ivar count: areas in each of its segments
    :ivar data: areas that its data is striped over; the others are copies or
        parity
    """

    count: int
    data: int

    # The report's fields of the segments that have several, as from_report
    # reads them.
    FIELDS: typing.ClassVar = ('lv_name', 'segtype', 'stripes',
                               'data_stripes')

    @classmethod
    def from_report(cls, row: Mapping[str, str]) -> Images:
        """Make one from a row of VolumeGroup.inventory's report.

        :raises KeyError, ValueError: the row lacks a field, or has a value
            that LVM cannot have printed
        """
        # LVM counts each copy of these two as a data stripe.
        data = (1 if row['segtype'] in ('mirror', 'raid1')
                else logical_volume.size(row['data_stripes']))
        return cls(logical_volume.size(row['stripes']), data)


_LINEAR = Images(1, 1)


@dataclasses.dataclass(frozen=True)
class Inventory:
    """A volume group and its LVs, including hidden ones, in LVM's order.

    :ivar extent_size: bytes; LVM rounds the size of an LV up to whole extents
    :ivar metadata_free: bytes by which the group's metadata can grow
    :ivar images: by LV name; LVs with a single image are left out
    :ivar duplicates: paths of devices that are a second copy of a physical
        volume of the group
    :ivar shared: several hosts use the group, with lvmlockd
    :ivar locked: False if LVM read the shared group without its lock
    :ivar unknown_types: types of segments that this LVM does not know
    """

    vg_name: str
    exported: bool
    partial: bool
    writeable: bool
    extent_size: int
    metadata_free: int
    tags: tuple[str, ...]
    physical_volumes: tuple[PhysicalVolume, ...]
    images: Mapping[str, Images]
    lvs: tuple[LogicalVolume, ...]
    shared: bool = False
    duplicates: tuple[str, ...] = ()
    locked: bool = True
    unknown_types: tuple[str, ...] = ()

    # The report's fields of the group itself, as from_report reads them.
    VG_FIELDS: typing.ClassVar = (
        'vg_name', 'vg_exported', 'vg_partial', 'vg_permissions',
        'vg_extent_size', 'vg_mda_free', 'vg_tags', 'vg_shared')

    @classmethod
    def from_report(cls, text: str, vg_name: str,
                    warnings: Sequence[str] = ()) -> Inventory:
        """Make one from the JSON of VolumeGroup.inventory's report.

        :param vg_name: the group that was reported
        :param warnings: the lines that LVM printed beside the report
        :raises ValueError: the text is not JSON, or LVM cannot have printed
            it
        """
        try:
            report, = json.loads(text)['report']
            vg, = report['vg']
            if vg['vg_name'] != vg_name:
                raise ValueError(f"vg_name {vg['vg_name']!r}")
            if vg['vg_permissions'] not in _PERMISSIONS:
                raise ValueError(f"vg_permissions {vg['vg_permissions']!r}")
            pvs = tuple(map(PhysicalVolume.from_report, report['pv']))
            return cls(
                vg_name=vg_name,
                exported=logical_volume.flag(vg['vg_exported']),
                partial=logical_volume.flag(vg['vg_partial']),
                writeable=vg['vg_permissions'] == 'writeable',
                extent_size=logical_volume.size(vg['vg_extent_size']),
                metadata_free=logical_volume.size(vg['vg_mda_free']),
                tags=logical_volume.tags(vg['vg_tags']),
                physical_volumes=pvs,
                images={row['lv_name'].strip('[]'): Images.from_report(row)
                        for row in report['seg']},
                lvs=tuple(map(LogicalVolume.from_report, report['lv'])),
                shared=logical_volume.flag(vg['vg_shared']),
                duplicates=_duplicates(warnings, pvs),
                locked=not any(map(_NO_LOCK.search, warnings)),
                unknown_types=tuple(sorted({
                    match[1] for match in map(_UNKNOWN_TYPE.search, warnings)
                    if match})))
        except (KeyError, TypeError, AttributeError) as exc:
            raise ValueError(f'not a report of a volume group: {exc!r}'
                             ) from exc

    @functools.cached_property
    def by_name(self) -> Mapping[str, LogicalVolume]:
        """The LVs by their names, which are unique in a group."""
        return {lv.name: lv for lv in self.lvs}

    @functools.cached_property
    def by_uuid(self) -> Mapping[str, LogicalVolume]:
        """The LVs by their UUIDs, which do not change when LVs are renamed."""
        return {lv.uuid: lv for lv in self.lvs}

    @functools.cached_property
    def has_unknown_segments(self) -> bool:
        """Whether this LVM does not know the type of a segment in the group.

        LVM changes no LV of such a group.
        """
        return bool(self.unknown_types) or any(
            lv.has_unknown_segments for lv in self.lvs)

    @functools.cached_property
    def read_only_devices(self) -> frozenset[str]:
        """The numbers of the physical volumes' devices that are read-only.

        LVM writes metadata to the others and reports success.
        """
        return frozenset(pv.device for pv in self.physical_volumes
                         if block_device.is_read_only(pv.device))

    def dependents(self, lv: LogicalVolume) -> Sequence[LogicalVolume]:
        """Return the LVs that have this one as their origin."""
        return self._by_origin.get(lv.name, ())

    def needing(self, lv: LogicalVolume) -> Sequence[LogicalVolume]:
        """Return the LVs that LVM removes together with this one.

        They are its thick snapshots, and the thin LVs of other pools that have
        it as their external origin.
        """
        return [other for other in self.dependents(lv)
                if not _share_blocks(lv, other)]

    def sharing_blocks_with(self, lv: LogicalVolume) -> list[str]:
        """Return the names of a thin LV's origin and of its thin clones.

        None of them needs the others: LVM keeps blocks that one still uses.
        """
        origin = self.by_name.get(lv.origin)
        return [other.name for other in (
            *([origin] if origin else []), *self.dependents(lv))
            if _share_blocks(lv, other)]

    @functools.cached_property
    def _by_origin(self) -> Mapping[str, Sequence[LogicalVolume]]:
        by_origin: dict[str, list[LogicalVolume]] = {}
        for lv in self.lvs:
            by_origin.setdefault(lv.origin, []).append(lv)
        return by_origin

    def parts_of(self, lv: LogicalVolume) -> Sequence[str]:
        """Return the names of the hidden LVs that LVM renames with this one.

        lvm2 lib/metadata/lv_manip.c, _rename_sub_lv: they have its name and an
        underscore in front. A few can be those of another LV.
        """
        hidden = self._hidden_names
        return hidden[bisect.bisect(hidden, f'{lv.name}_'):
                      bisect.bisect(hidden, f'{lv.name}_\x7f')]

    @functools.cached_property
    def _hidden_names(self) -> Sequence[str]:
        return sorted(lv.name for lv in self.lvs if not lv.visible)

    def images_of(self, lv: LogicalVolume) -> Images:
        """Return how the LV lies on its physical volumes."""
        return self.images.get(lv.name, _LINEAR)

    def allocated(self, size: int, lv: LogicalVolume | None = None) -> int:
        """Return the size, in bytes, that LVM rounds a requested one up to.

        :param size: the requested size in bytes
        :param lv: the LV to extend to it; None for a new linear LV
        """
        unit = self.extent_size * (self.images_of(lv).data if lv else 1)
        return -(-size // unit) * unit

    def has_room(self, lv: LogicalVolume, size: int) -> bool:
        """Return whether the group has room to extend the LV to `size` bytes.

        A thin LV needs none: its pool provides it.
        """
        if lv.is_thin:
            return True
        images = self.images_of(lv)
        each = (size - lv.size) // images.data
        free = [pv.free for pv in self.physical_volumes]
        if images.count == 1:
            return each <= sum(free)
        return sum(each <= room for room in free) >= images.count

    def find(self, reference: Reference) -> LogicalVolume:
        """Return the LV that the reference points at.

        :raises InvalidReference: there is none
        """
        lv = (self.by_name.get(reference.name) if reference.name
              else self.by_uuid.get(reference.uuid or ''))
        if lv is None:
            raise errors.InvalidReference(
                f'volume group {self.vg_name} has no LV with {reference}: '
                f'see `lvs -o lv_name,lv_uuid {self.vg_name}`')
        return lv


def _share_blocks(lv: LogicalVolume, other: LogicalVolume) -> bool:
    return lv.is_thin and other.is_thin and lv.pool == other.pool


def _duplicates(warnings: Sequence[str],
                pvs: Sequence[PhysicalVolume]) -> tuple[str, ...]:
    uuids = {pv.uuid for pv in pvs}
    found = (_DUPLICATE.search(line) for line in warnings)
    return tuple(match[1] for match in found if match and match[2] in uuids)
