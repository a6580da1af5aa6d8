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

"""Case: everything that the rules look at when one LV is judged."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
import typing

from oslo_utils import units

from cinder_lvm_manage import adoption
from cinder_lvm_manage import contents
from cinder_lvm_manage import foreign_owners
from cinder_lvm_manage import logical_volume
from cinder_lvm_manage.block_device import User
from cinder_lvm_manage.claim import Claim
from cinder_lvm_manage.claim import FAILED_TO_MANAGE
from cinder_lvm_manage.claim import Policy
from cinder_lvm_manage.claim import Sign
from cinder_lvm_manage.claim import VolumeClaim
from cinder_lvm_manage.contents import Contents
from cinder_lvm_manage.contents import Image
from cinder_lvm_manage.foreign_owners import ForeignOwner
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.logical_volume import LogicalVolume

ClaimT = typing.TypeVar('ClaimT', bound=Claim, covariant=True)


@dataclasses.dataclass(frozen=True)
class Case(typing.Generic[ClaimT]):
    """All that a rule may look at.

    :ivar users: what is known to hold the LV open, in the order to release it
    """

    lv: LogicalVolume
    inventory: Inventory
    claim: ClaimT
    policy: Policy
    users: Sequence[User] = ()
    contents: Contents = contents.NOT_READ

    @property
    def thin_pool(self) -> LogicalVolume | None:
        """The pool of a thin LV; None for other LVs."""
        return (self.inventory.by_name.get(self.lv.pool)
                if self.lv.is_thin else None)

    @property
    def cinders_pool(self) -> str:
        """The only thin pool that Cinder uses in the group."""
        return f'{self.inventory.vg_name}-pool'

    @property
    def ownership(self) -> str:
        """The code of the one rule on owners that applies; empty if none."""
        owner = self.claim.owner
        if owner is None:
            return ''
        if owner.sign is Sign.ID_IN_NAME:
            return 'id-in-name'
        if owner.host and owner.machine != self.policy.machine:
            return 'already-managed-elsewhere'
        if owner.status in ('managing', *FAILED_TO_MANAGE):
            return 'manage-incomplete'
        if 'error' in owner.status:
            return 'owner-in-error'
        return 'already-managed'

    @property
    def on_host(self) -> str:
        """Where the owner is; empty if Cinder records no host for it."""
        host = self.claim.owner.host if self.claim.owner else ''
        return f' on {host}' if host else ''

    @property
    def journal_removal(self) -> str:
        """The command that removes an adoption's tags; empty without any."""
        tags = sorted(adoption.journal_tags(self.lv))
        return (f'; then run `lvchange --deltag {" --deltag ".join(tags)} '
                f'{self.inventory.vg_name}/NEWNAME`' if tags else '')

    @property
    def held_by(self) -> str:
        """Who holds the LV open, where that can be determined."""
        return ''.join(f', {user.what}' for user in self.users)

    @property
    def release(self) -> str:
        """The steps that release an open LV."""
        return (', then '.join(user.release for user in self.users)
                or 'find what holds it with `lsblk` and, as root and outside '
                   'any container, `fuser -v` on its device, and stop that')

    @functools.cached_property
    def foreign_owner(self) -> ForeignOwner | None:
        """The system that created the LV, if known and not this Cinder."""
        return None if self.claim.owner else foreign_owners.owner_of(
            self.lv.name, self.lv.tags, self.inventory.vg_name,
            self.inventory.tags)

    @property
    def refused_images(self) -> list[Image]:
        """The images in the LV whose formats are not allowed."""
        return [image for image in self.contents.images
                if image.format not in self.policy.image_formats]

    @property
    def refused_image(self) -> str:
        """A description of the image; of each, if there are several."""
        return ' and a '.join(map(str, self.refused_images))

    @property
    def image_conversion(self) -> str:
        """How to copy the disk in the image to an LV of its own."""
        activation = (
            'activate the LV with `lvchange --activate y '
            f'--ignoreactivationskip {self.inventory.vg_name}/{self.lv.name}`;'
            ' then ' if self.lv.activation.active is False else '')
        return activation + self.refused_images[0].conversion(
            self.inventory.vg_name, self.lv.name, self.policy.thin_pool)

    @property
    def unusable_name(self) -> str:
        """Why LVM would refuse to rename an LV to this name; empty if not."""
        return logical_volume.unusable(self.lv.name, self.inventory.vg_name)

    @property
    def extend_to(self) -> int | None:
        """The size in bytes to extend a volume's LV to; None to keep it."""
        if (not self.policy.extend_to_gib
                or not isinstance(self.claim, VolumeClaim)):
            return None
        whole = self.lv.size_gib * units.Gi
        return whole if self.lv.size < whole else None

    @property
    def extended(self) -> int:
        """The size in bytes that LVM would round that up to; 0 without one."""
        return (self.inventory.allocated(self.extend_to, self.lv)
                if self.extend_to else 0)

    @property
    def is_never_activated(self) -> bool:
        """Whether volume_list excludes the LV once Cinder has renamed it."""
        entries = self.policy.activation.volume_list
        # Host tags, which @* stands for, are not known here.
        return (entries is not None and '@*' not in entries
                and not self._is_in(entries))

    @property
    def is_activated_read_only(self) -> bool:
        """Whether read_only_volume_list includes the LV once it is renamed."""
        return self._is_in(self.policy.activation.read_only_volume_list)

    def _is_in(self, entries: Sequence[str]) -> bool:
        # lvm2 lib/activate/activate.c, _passes_volumes_filter.
        return bool({self.inventory.vg_name,
                     *(f'@{tag}' for tag in self.lv.tags),
                     *(f'@{tag}' for tag in self.inventory.tags)
                     }.intersection(entries))

    @property
    def metadata_needed(self) -> int:
        """Bytes by which managing it makes the group's metadata grow."""
        # Each part is named by its own metadata and by those of what uses it.
        names = (len(self.inventory.dependents(self.lv))
                 + 2 * len(self.inventory.parts_of(self.lv)))
        return adoption.metadata_needed(
            self.lv, names,
            self.policy.names.longest, self.extend_to is not None,
            self.policy.adopting_host)

    @property
    def dependents(self) -> str:
        """The names of the LVs that have this one as their origin."""
        return ', '.join(dependent.name for dependent
                         in self.inventory.dependents(self.lv))

    @property
    def effect_on_clones(self) -> str:
        """What making the LV writable does to those that share its blocks."""
        sharing = self.inventory.sharing_blocks_with(self.lv)
        return (f'; this does not change {", ".join(sharing)}, which '
                f'{"shares" if len(sharing) == 1 else "share"} blocks with it'
                if sharing else '')

    @property
    def remedy_of_snapshot(self) -> str:
        """How to manage an LV that can only be a snapshot."""
        origin = self.inventory.by_name.get(self.lv.origin)
        return (f'manage it as a snapshot, once {origin.name} is managed'
                if origin and origin.visible else
                'copy it to a new LV and manage that')

    @property
    def or_as_volume(self) -> str:
        """The other way to manage a snapshot; empty if there is none."""
        return (', or manage this LV as a volume'
                if self.policy.names.can_be_volume(self.lv) else '')

    @property
    def read_only_devices(self) -> str:
        """The devices of physical volumes that cannot be written to."""
        return ', '.join(pv.name for pv in self.inventory.physical_volumes
                         if pv.device in self.inventory.read_only_devices)
