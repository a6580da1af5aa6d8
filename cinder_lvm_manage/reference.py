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

"""Reference: the LV that the caller of a manage refers to."""

from __future__ import annotations

import dataclasses
import reprlib

from cinder_lvm_manage import errors
from cinder_lvm_manage import logical_volume

_ACCEPTED = ("a reference is {'source-name': <name of the LV>} or "
            "{'source-id': <UUID of the LV>}, exactly one of the two; the "
            'name is without volume group or path, as `lvs -o lv_name` shows '
            'it, the UUID as `lvs -o lv_uuid` does')

_abridged = reprlib.Repr()
_abridged.maxstring = _abridged.maxother = 140


def abridged(existing_ref: object) -> str:
    """Return a caller's value for a message, shortened if it is long."""
    return _abridged.repr(existing_ref)


@dataclasses.dataclass(frozen=True)
class Reference:
    """An LV, by its name or by its UUID; the other is None."""

    name: str | None = None
    uuid: str | None = None

    @classmethod
    def parse(cls, existing_ref: object) -> Reference:
        """Return the reference in the `ref` of Cinder's API.

        :raises InvalidReference: it is not exactly one well-formed
            source-name or source-id
        """
        match existing_ref:
            case {'source-name': name, **rest} if not rest:
                if logical_volume.is_lv_name(name):
                    return cls(name=name)
            case {'source-id': uuid, **rest} if not rest:
                if logical_volume.is_lv_uuid(uuid):
                    return cls(uuid=uuid)
        raise errors.InvalidReference(_ACCEPTED)

    def __str__(self) -> str:
        return (f'source-name {self.name}' if self.name
                else f'source-id {self.uuid}')
