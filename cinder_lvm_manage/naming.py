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

"""CinderNames: the names that Cinder gives to LVs."""

from __future__ import annotations

import dataclasses
import functools
import re

from cinder_lvm_manage.logical_volume import LogicalVolume

# As OpenStack and most other systems write one.
UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
_EXAMPLE = '00000000-0000-4000-8000-000000000000'


def ids_in(lv_name: str) -> list[str]:
    """Return what looks like Cinder's IDs in a name, for any template."""
    return re.findall(UUID, lv_name)


@dataclasses.dataclass(frozen=True)
class CinderNames:
    """The names that Cinder's name templates make.

    A template is matched literally and completely. Cinder's own
    extract_id_from_volume_name uses it as a regular expression that may match
    a part, so it finds IDs in names that Cinder never gave.
    """

    volume_template: str
    snapshot_template: str

    def volume_id(self, lv_name: str) -> str | None:
        """Return the volume's ID (its name_id) in the name, if any."""
        match = self._volume_name.fullmatch(lv_name)
        return match[1] if match else None

    def snapshot_id(self, lv_name: str) -> str | None:
        """Return the snapshot's ID in the name, if any."""
        match = self._snapshot_name.fullmatch(lv_name)
        return match[1] if match else None

    def id_of(self, lv_name: str) -> str | None:
        """Return the ID of the volume or snapshot in the name, if any."""
        return self.volume_id(lv_name) or self.snapshot_id(lv_name)

    @property
    def longest(self) -> int:
        """The length of the longest name that Cinder gives to an LV."""
        return max(len(template % _EXAMPLE) for template in (
            self.volume_template, self.of_snapshot(self.snapshot_template)))

    def of_snapshot(self, name: str) -> str:
        """Return the LV name for a snapshot's name.

        LVM reserves names that start with snapshot. Cinder puts an underscore
        before them (LVMVolumeDriver._escape_snapshot).
        """
        return '_' + name if name.startswith('snapshot') else name

    def can_be_volume(self, lv: LogicalVolume) -> bool:
        """Return whether the LV can be a volume of Cinder.

        To LVM, a thin clone is a snapshot too, but it does not need its
        origin. Only the name that Cinder gave it shows that it is a snapshot.
        """
        return not lv.is_snapshot or (lv.is_thin
                                      and not self.snapshot_id(lv.name))

    def can_be_snapshot(self, lv: LogicalVolume) -> bool:
        """Return whether the LV can be a snapshot of Cinder.

        Of a thin clone, only the name that Cinder gave it shows that it is a
        volume.
        """
        return lv.is_snapshot and not (lv.is_thin
                                       and self.volume_id(lv.name))

    @functools.cached_property
    def _volume_name(self) -> re.Pattern[str]:
        return _pattern(self.volume_template)

    @functools.cached_property
    def _snapshot_name(self) -> re.Pattern[str]:
        return _pattern(self.of_snapshot(self.snapshot_template))


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace('%s', f'({UUID})'))
