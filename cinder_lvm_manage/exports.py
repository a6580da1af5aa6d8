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

"""Export: the tag of an LV that names the host that exports it.

LVM's lock decides which host has an LV. The tag only says which host to ask
first.
"""

from __future__ import annotations

import dataclasses
import re

from cinder_lvm_manage.logical_volume import LogicalVolume

_TAG = 'cinder_lvm_export:host='

# A tag cannot have the @ of host@backend, and a host cannot have a slash.
_HOST = re.compile(r'[A-Za-z0-9._-]+(@[A-Za-z0-9._-]+)?')


def is_taggable(host: str) -> bool:
    """Return whether a tag can have the name of a cinder-volume service."""
    return _HOST.fullmatch(host) is not None


def in_tag(host: str) -> str:
    """Return the name, host@backend, as it is written in a tag."""
    return host.replace('@', '/')


def from_tag(text: str) -> str:
    """Return the name, host@backend, that in_tag wrote."""
    return text.replace('/', '@')


@dataclasses.dataclass(frozen=True)
class Export:
    """A host's export of an LV.

    :ivar host: of its cinder-volume, host@backend
    """

    host: str

    @classmethod
    def of(cls, lv: LogicalVolume) -> Export | None:
        """Return the export that the LV's tags name, if any."""
        hosts = [from_tag(tag.removeprefix(_TAG)) for tag in tags_of(lv)]
        return cls(hosts[0]) if hosts else None

    @property
    def tag(self) -> str:
        """The LV tag that records this."""
        return _TAG + in_tag(self.host)


def tags_of(lv: LogicalVolume) -> set[str]:
    """Return the LV's tags that name an export."""
    return {tag for tag in lv.tags if tag.startswith(_TAG)}
