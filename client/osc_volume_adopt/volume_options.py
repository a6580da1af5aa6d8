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

"""What the options of `plan` say about the volumes."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import fnmatch
import string
from typing import Any

from osc_volume_adopt.errors import InputError
from osc_volume_adopt.manageable import Manageable

# Image properties that Nova reads, docs.openstack.org/glance/latest/admin/
# useful-image-properties.html.
FIRMWARE = 'hw_firmware_type'
DISK_BUS = 'hw_disk_bus'
OS_TYPE = 'os_type'


@dataclasses.dataclass(frozen=True)
class ImageProperty:
    """An image property of the volumes of some LVs.

    :ivar glob: matches the names of the LVs
    """

    key: str
    value: str
    glob: str = '*'

    @classmethod
    def parse(cls, text: str) -> ImageProperty:
        """Return the property of `[GLOB:]KEY=VALUE`.

        :raises ValueError: the text is something else
        """
        left, separator, value = text.partition('=')
        glob, _, key = left.rpartition(':')
        if not (separator and key and value):
            raise ValueError(text)
        return cls(key, value, glob or '*')


@dataclasses.dataclass(frozen=True)
class VolumeOptions:
    """What holds for all volumes of a plan, or for those of some LVs.

    :ivar name_template: their names, from {name} and {id} of the LV, its
        {gib}, and the {number} of the entry, from 1
    :ivar project: name or ID; None for the caller's own
    :ivar bootable: globs of the names of LVs whose volumes are bootable
    """

    name_template: str = '{name}'
    volume_type: str | None = None
    availability_zone: str | None = None
    project: str | None = None
    bootable: tuple[str, ...] = ()
    image_properties: tuple[ImageProperty, ...] = ()
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def fields_of(self, lv: Manageable, number: int) -> dict[str, Any]:
        """Return the fields of the plan's entry for an LV.

        What its contents show is overridden by the options.

        :param number: of the entry
        :raises InputError: the name template is invalid
        """
        found = proposed(lv)
        return {
            'name': self._name(lv, number),
            'volume_type': self.volume_type,
            'availability_zone': self.availability_zone,
            'project': self.project,
            'metadata': self.metadata,
            'bootable': found['bootable'] or _matches(lv.name, self.bootable),
            'image_properties': found['image_properties'] | {
                each.key: each.value for each in self.image_properties
                if _matches(lv.name, [each.glob])}}

    def _name(self, lv: Manageable, number: int) -> str:
        known = {'name': lv.name, 'id': lv.source_id, 'gib': lv.gib,
                 'number': number}
        try:
            return string.Formatter().vformat(self.name_template, (), known)
        except (KeyError, IndexError, ValueError, AttributeError) as exc:
            raise InputError(
                f'Invalid name template {self.name_template!r} ({exc}). Its '
                'fields are ' + ', '.join(f'{{{name}}}' for name in known)
                + '.') from exc


def proposed(lv: Manageable) -> dict[str, Any]:
    """Return the fields of an entry that the LV's contents show.

    A disk with both kinds of boot partition boots with either firmware, so
    nothing is proposed for it.
    """
    return {'bootable': bool(lv.boot_partitions),
            'image_properties': {FIRMWARE: 'uefi'}
            if lv.boot_partitions == ('efi',) else {}}


def _matches(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, glob) for glob in globs)
