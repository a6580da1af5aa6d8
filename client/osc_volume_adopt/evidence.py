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

"""Which volume or snapshot has an LV, from what only operators can write.

A project can write the metadata of its volumes, so it can mark any of them as
the volume of an LV in somebody's plan. A mark only says where to look. The
backend's listing confirms it: there, the driver names the volume that has the
LV with a given UUID.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import Any

from osc_volume_adopt import text
from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.manageable import LVM_MANAGE
from osc_volume_adopt.manageable import Manageable
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.plan import SnapshotEntry

Volume = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Lv:
    """An LV, as the journal identifies it.

    :ivar uuid: empty with drivers that do not report the UUID of an LV that
        has a volume
    :ivar name: its name before it was adopted
    """

    location: Location
    uuid: str
    name: str

    @classmethod
    def of(cls, entry: Entry) -> Lv:
        """Return the LV of an entry of a plan."""
        return cls(entry.location,
                   entry.source_id if entry.driver == LVM_MANAGE else '',
                   entry.lv_name)

    @classmethod
    def of_snapshot(cls, entry: Entry, snapshot: SnapshotEntry) -> Lv:
        """Return the LV of a snapshot of an entry."""
        return cls(entry.location,
                   snapshot.source_id if snapshot.driver == LVM_MANAGE else '',
                   snapshot.lv_name)

    @classmethod
    def from_journal(cls, content: Mapping[str, Any]) -> Lv:
        """Return the LV of as_dict; one without a UUID if nothing is known."""
        return cls(Location(content.get('host'), content.get('cluster')),
                   content.get('uuid', ''), content.get('name', ''))

    @property
    def as_dict(self) -> dict[str, str]:
        """What the journal records."""
        return {**self.location.query, 'uuid': self.uuid,
                'name': self.name}


@dataclasses.dataclass(frozen=True)
class Finding:
    """The volumes that are marked as the volume of one LV.

    :ivar confirmed: those that have the LV; among several, a person decides
    :ivar pending: those that Cinder is still creating
    :ivar strangers: those that do not have the LV
    """

    confirmed: tuple[Volume, ...] = ()
    pending: tuple[Volume, ...] = ()
    strangers: tuple[Volume, ...] = ()


def sort_out(api: CinderApi, lv: Lv, marked: Iterable[Volume],
             listed: Callable[[Location], Iterable[Manageable]]) -> Finding:
    """Return which of the marked volumes has the LV.

    :param listed: lists a backend's LVs; only called if anything is marked
    """
    marked = tuple(marked)
    if not marked:
        return Finding()
    if lv.uuid:
        return judge(lv, marked, holders(listed(lv.location)).get(lv.uuid), '')
    return judge(lv, marked, None, api.own_project())


def holders(lvs: Iterable[Manageable]) -> dict[str, str]:
    """Return the ID of the volume that has an LV, by the LV's UUID."""
    return {lv.source_id: lv.cinder_id for lv in lvs
            if lv.source_id and lv.cinder_id}


def judge(lv: Lv, marked: Iterable[Volume], holder: str | None,
          own_project: str) -> Finding:
    """Return which of the marked volumes has the LV.

    :param holder: ID of the volume that has the LV, as its driver says
    :param own_project: the operator's
    """
    confirmed: list[Volume] = []
    pending: list[Volume] = []
    strangers: list[Volume] = []
    for volume in marked:
        if lv.uuid:
            if volume['id'] == holder:
                confirmed.append(volume)
            elif _is_incomplete(volume) and not holder:
                (pending if volume['status'] == 'creating'
                 else confirmed).append(volume)
            else:
                strangers.append(volume)
        # Only operators write the metadata of volumes in their own project.
        elif project_of(volume) == own_project:
            confirmed.append(volume)
        else:
            strangers.append(volume)
    return Finding(tuple(confirmed), tuple(pending), tuple(strangers))


def stranger(volume: Volume, marker: Mapping[str, str]) -> str:
    """Return the message about a marked volume that does not have the LV."""
    mark = text.printable(', '.join(f'{key}={value}'
                                    for key, value in marker.items()))
    noun = 'snapshot' if 'volume_id' in volume else 'volume'
    return (f"Ignored {noun} {volume['id']} of project "
            f'{project_of(volume)}: it has the property {mark}, which its '
            'project can write, but it does not have that LV')


def _is_incomplete(volume: Volume) -> bool:
    """Return whether Cinder has not completed the manage of this volume.

    Until then a volume has no size. No project can create such a volume, and
    unmanaging it changes no LV. A snapshot always has its volume's size.
    """
    if 'volume_id' in volume:
        return bool(volume['status'] == 'creating')
    return bool(volume['size'] == 0)


def project_of(volume: Volume) -> str:
    """Return the ID of the project that owns the volume."""
    return str(volume.get('os-vol-tenant-attr:tenant_id')
               or volume.get('os-extended-snapshot-attributes:project_id')
               or '')
