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

"""Snapshots that a backend lists, and the LVs that they are snapshots of.

A thin snapshot is an independent LV: it is listed as a snapshot and as a
volume, and its origin can be deleted. While an LV has thick snapshots that
Cinder does not manage, Cinder cannot delete or migrate its volume.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
from typing import Any

from osc_volume_adopt.manageable import Location
from osc_volume_adopt.manageable import Manageable
from osc_volume_adopt.manageable import Place

# cinder_lvm_manage's only reason against a snapshot that can be managed as
# soon as its origin is.
_ORIGIN_IS_NOT_MANAGED = 'foreign-snapshot'


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One row of a detailed listing of manageable snapshots.

    :ivar lv: the snapshot's LV; its gib and size are those of the origin when
        the snapshot was taken
    :ivar origin: name of the LV that it is a snapshot of
    :ivar kind: thin or thick; empty with drivers that do not report it
    """

    lv: Manageable
    origin: str
    kind: str

    @classmethod
    def from_api(cls, row: Mapping[str, Any],
                 location: Location) -> Snapshot:
        """Return the snapshot of one row of the API's answer."""
        lv = Manageable.from_api(row, location)
        origin = row.get('source_reference') or {}
        return cls(lv, str(origin.get('source-name')
                           or next(iter(origin.values()), '')),
                   lv.more.get('kind', ''))

    @property
    def blocks_delete(self) -> bool:
        """Whether Cinder cannot delete the origin's volume because of it."""
        return self.kind != 'thin' and not self.lv.cinder_id

    @property
    def can_follow(self) -> bool:
        """Whether it can be managed after its origin has been."""
        return self.lv.safe or self.lv.codes == [_ORIGIN_IS_NOT_MANAGED]


def by_origin(snapshots: Iterable[Snapshot]) -> dict[Place, list[Snapshot]]:
    """Return the snapshots of each LV that has any."""
    found: dict[Place, list[Snapshot]] = {}
    for snapshot in snapshots:
        found.setdefault((snapshot.lv.location, snapshot.origin), []
                         ).append(snapshot)
    return found


def attached(lvs: Iterable[Manageable],
             found: Mapping[Place, Iterable[Snapshot]]
             ) -> Iterator[Manageable]:
    """Yield the LVs with their snapshots."""
    for lv in lvs:
        theirs = [each for each in found.get(lv.place, ())
                  if not each.lv.cinder_id]
        yield dataclasses.replace(
            lv, snapshots=tuple(each.lv.name for each in theirs),
            blocking=tuple(each.lv.name for each in theirs
                           if each.blocks_delete))
