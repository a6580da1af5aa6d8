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

from collections.abc import Mapping
import dataclasses
import functools
import json
import typing

from cinder_lvm_manage import errors
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.reference import Reference


@dataclasses.dataclass(frozen=True)
class Inventory:
    """A volume group and its LVs, the hidden ones too, in LVM's order.

    :ivar free: bytes that no LV has
    """

    vg_name: str
    exported: bool
    partial: bool
    writeable: bool
    free: int
    lvs: tuple[LogicalVolume, ...]

    # The report's fields of the group itself, as from_report reads them.
    VG_FIELDS: typing.ClassVar = (
        'vg_name', 'vg_exported', 'vg_partial', 'vg_permissions',
        'vg_free')

    @classmethod
    def from_report(cls, text: str) -> Inventory:
        """Make one from the JSON of `lvm fullreport --binary` for one group.

        :raises ValueError: the text is no JSON, or not such a report
        """
        try:
            report, = json.loads(text)['report']
            vg, = report['vg']
            return cls(vg_name=vg['vg_name'],
                       exported=vg['vg_exported'] == '1',
                       partial=vg['vg_partial'] == '1',
                       writeable=vg['vg_permissions'] == 'writeable',
                       free=int(vg['vg_free']),
                       lvs=tuple(map(LogicalVolume.from_report,
                                     report['lv'])))
        except (KeyError, TypeError, AttributeError) as exc:
            raise ValueError(f'not a report of a volume group: {exc!r}'
                             ) from exc

    @functools.cached_property
    def by_name(self) -> Mapping[str, LogicalVolume]:
        """The LVs by their names, which are unique in a group."""
        return {lv.name: lv for lv in self.lvs}

    @functools.cached_property
    def by_uuid(self) -> Mapping[str, LogicalVolume]:
        """The LVs by their UUIDs, which stay when names change."""
        return {lv.uuid: lv for lv in self.lvs}

    def dependents(self, lv: LogicalVolume) -> list[LogicalVolume]:
        """The LVs that have this one as their origin."""
        return [other for other in self.lvs if other.origin == lv.name]

    def find(self, reference: Reference) -> LogicalVolume:
        """The LV that the reference points at.

        :raises InvalidReference: there is none
        """
        lv = (self.by_name.get(reference.name) if reference.name
              else self.by_uuid.get(reference.uuid or ''))
        if lv is None:
            raise errors.InvalidReference(
                f'volume group {self.vg_name} has no LV with {reference}: '
                f'see `lvs -o lv_name,lv_uuid {self.vg_name}`')
        return lv
