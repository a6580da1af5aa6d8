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

"""The rules against managing an LV, as tables, each with reason and remedy.

They follow lvs(8): read them beside that page's "lv_attr bits". Nobody but
verdict.judge asks them.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import enum
import functools
import re
from typing import Any

from oslo_utils import units

from cinder_lvm_manage import block_device
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.logical_volume import Shape
from cinder_lvm_manage.naming import CinderNames


class Kind(enum.Enum):
    """What sort of obstacle a reason is; the strongest comes first."""

    ALREADY_MANAGED = enum.auto()
    UNSAFE = enum.auto()
    TYPE_MISMATCH = enum.auto()


@dataclasses.dataclass(frozen=True)
class Policy:
    """What the backend's volumes are, and what its operator has allowed.

    :ivar names: how Cinder names its volumes
    :ivar thin_pool: the pool of the backend's volumes; None if they are thick
    :ivar in_use: an open LV may be managed
    :ivar without_device_mapper: an LV whose state the kernel does not tell
        may be managed
    :ivar extend_to_gib: a volume's LV is made as long as its whole GiB
    """

    names: CinderNames
    thin_pool: str | None = None
    in_use: bool = False
    without_device_mapper: bool = False
    extend_to_gib: bool = False


@dataclasses.dataclass(frozen=True)
class Claim:
    """Cinder's claim to an LV as a volume.

    :ivar owner: id of the volume (or snapshot) that has the LV already
    :ivar provisioning: what its volume type allows, of thin and thick
    :ivar encrypted: whether its volume type has volumes encrypted
    """

    owner: str | None = None
    provisioning: frozenset[str] = frozenset({'thin', 'thick'})
    encrypted: bool = False


@dataclasses.dataclass(frozen=True)
class SnapshotClaim(Claim):
    """Cinder's claim to an LV as a snapshot.

    :ivar origin_owner: id of the volume that has the LV's origin
    :ivar parent: id of the volume of which it is to be a snapshot; None for
        any
    """

    origin_owner: str | None = None
    parent: str | None = None


@dataclasses.dataclass(frozen=True)
class Case:
    """All that a rule may look at."""

    lv: LogicalVolume
    inventory: Inventory
    claim: Any  # of the class that _RULES names for the rule's table
    policy: Policy

    @property
    def thin_pool(self) -> LogicalVolume | None:
        """The pool of a thin LV; None for other LVs."""
        return (self.inventory.by_name.get(self.lv.pool)
                if self.lv.is_thin else None)

    @property
    def users(self) -> str:
        """Who holds the LV open, where that can be told."""
        return ''.join(f', {user}'
                       for user in block_device.users(self.lv.device))

    @property
    def extend_to(self) -> int | None:
        """Bytes that the LV is to be made long as a volume; None if none."""
        if (not self.policy.extend_to_gib
                or isinstance(self.claim, SnapshotClaim)):
            return None
        whole = self.lv.size_gib * units.Gi
        return whole if self.lv.size < whole else None

    @property
    def missing(self) -> int:
        """Bytes that extending the LV lacks in the group; at least."""
        if self.extend_to is None or self.lv.is_thin:
            return 0
        return max(0, self.extend_to - self.lv.size - self.inventory.free)

    @property
    def dependents(self) -> str:
        """The names of the LVs that have this one as their origin."""
        return ', '.join(dependent.name for dependent
                         in self.inventory.dependents(self.lv))


@dataclasses.dataclass(frozen=True)
class Rule:
    """One line of the table; the texts are formatted with case and lv."""

    applies: Callable[[Case], object]
    why: str
    remedy: str
    kind: Kind = Kind.UNSAFE


# lv_attr's characters, by the place that lvs(8) gives them.
_TYPE, _PERMISSIONS, _ALLOCATION, _STATE, _OPEN, _TARGET, _HEALTH = (
    0, 1, 2, 4, 5, 6, 8)


@dataclasses.dataclass(frozen=True)
class _OfShape:
    """The LV's shape alone decides."""

    decides: Callable[[Shape], object]

    def __call__(self, case: Case) -> object:
        return self.decides(case.lv.shape)


def _attr(place: int, characters: str) -> _OfShape:
    return _OfShape(lambda shape: shape.attr[place] in characters)


def _pool_attr(place: int, characters: str) -> Callable[[Case], bool]:
    return lambda case: (case.thin_pool is not None
                         and case.thin_pool.attr[place] in characters)


def _pool_of(layout: str) -> _OfShape:
    return _OfShape(lambda shape: {'pool', layout} <= set(shape.layouts))


# The snapshot from which Cinder's LVM driver copies a thick clone.
_CINDERS_TEMPORARY = re.compile(r'clone-snap-[0-9a-f-]{36}')

AS_ANY = (
    # Whose it is.
    Rule(lambda case: case.claim.owner,
         'is already managed as {claim.owner}',
         'nothing is to be done, or unmanage that one first',
         Kind.ALREADY_MANAGED),
    Rule(lambda case: _CINDERS_TEMPORARY.fullmatch(case.lv.name),
         "is Cinder's temporary snapshot for a clone",
         'Cinder removes it when the clone is done; if none is being made, '
         'lvremove it'),
    Rule(lambda case: case.lv.name == 'lvmlock',
         "holds lvmlockd's leases",
         'leave it to lvmlockd'),

    # What LVM keeps for its own use, and pools.
    Rule(_pool_of('thin'),
         'is a thin pool',
         'manage the thin volumes in it'),
    Rule(_pool_of('vdo'),
         'is a VDO pool',
         'manage the VDO volume on it'),
    Rule(_pool_of('cache'),
         'is a cache pool',
         'manage the LV that it caches'),
    Rule(_OfShape(lambda shape: ('private' in shape.roles
                                 and 'pool' not in shape.layouts)),
         'is internal to LVM',
         'manage the LV that it is a part of'),
    Rule(_OfShape(lambda shape: (shape.attr[_TYPE] == 'v'
                                 and 'vdo' not in shape.layouts)),
         'has no storage behind it',
         'lvremove it'),

    # What it is to other LVs.
    Rule(_attr(_TYPE, 'S'),
         'is being merged into its origin',
         'wait until the merge is done and manage {lv.origin}'),
    Rule(_OfShape(lambda shape: any(role.endswith('extthinorigin')
                                    for role in shape.roles)),
         'is the external origin of {case.dependents}, which would be '
         'lost with it',
         'copy it to an LV of its own and manage that'),

    # What LVM is doing to it.
    Rule(_attr(_TYPE, 'p'),
         'is the temporary LV of a pvmove',
         'wait until pvmove is done'),
    Rule(_attr(_TYPE, 'c'),
         'is being converted',
         'wait until lvconvert is done'),
    Rule(_OfShape(lambda shape: shape.attr[_ALLOCATION].isupper()),
         'is locked by a pvmove',
         'wait until pvmove is done, or pvmove --abort'),
    Rule(_attr(_HEALTH, 's'),
         'is being reshaped',
         'wait until lvconvert is done'),
    Rule(_attr(_HEALTH, 'R'),
         'has images to be removed after a reshape',
         'finish with lvconvert --stripes, see lvmraid(7)'),

    # Whether its data can be read and written.
    Rule(_attr(_STATE, 'sSM'),
         'is suspended',
         'dmsetup resume it'),
    Rule(_attr(_STATE, 'IS'),
         'is an invalid snapshot',
         'lvremove it; its data is gone'),
    Rule(_attr(_STATE, 'mM'),
         'is a snapshot whose merge has failed',
         'see lvconvert --merge in lvconvert(8)'),
    Rule(_attr(_STATE, 'di'),
         'has a device without a live table',
         'lvchange --refresh {vg}/{lv.name}'),
    Rule(_attr(_STATE, 'cC'),
         'needs a check',
         'lvconvert --repair {vg}/{lv.name}'),
    Rule(_attr(_STATE, 'h'),
         'is historical: only its name is left',
         'nothing can be managed here'),
    Rule(_attr(_TARGET, 'u'),
         'has a target this kernel does not know',
         'load the kernel module that it needs'),
    Rule(_attr(_HEALTH, 'p'),
         'lies on a missing physical volume',
         'bring it back, then vgextend --restoremissing {vg} PV'),
    Rule(_attr(_HEALTH, 'r'),
         'has a RAID image that needs refresh or repair',
         'lvchange --refresh or lvconvert --repair {vg}/{lv.name}'),
    Rule(_attr(_HEALTH, 'm'),
         'has RAID images that differ',
         'lvchange --syncaction repair {vg}/{lv.name}'),
    Rule(_attr(_HEALTH, 'E'),
         'has errors in its writecache',
         'see lvmcache(7)'),
    Rule(_attr(_HEALTH, 'F'),
         'has failed',
         'see lvmthin(7) or lvmraid(7) on repairing it'),
    Rule(_attr(_HEALTH, 'D'),
         'is out of data space',
         'lvextend {vg}/{lv.name}'),
    Rule(_attr(_HEALTH, 'M'),
         'has read-only metadata',
         'see lvmthin(7) on repairing metadata'),
    Rule(_pool_attr(_HEALTH, 'F'),
         'lies in thin pool {lv.pool}, which has failed',
         'lvconvert --repair {vg}/{lv.pool}'),
    Rule(_pool_attr(_HEALTH, 'D'),
         'lies in thin pool {lv.pool}, which is out of data space',
         'lvextend {vg}/{lv.pool}'),
    Rule(_pool_attr(_HEALTH, 'M'),
         'lies in thin pool {lv.pool}, whose metadata is read-only',
         'lvconvert --repair {vg}/{lv.pool}'),
    Rule(_pool_attr(_HEALTH, 'p'),
         'lies in thin pool {lv.pool}, which has a missing physical volume',
         'bring it back, then vgextend --restoremissing {vg} PV'),
    Rule(_pool_attr(_STATE, 'cC'),
         'lies in thin pool {lv.pool}, which needs a check',
         'lvconvert --repair {vg}/{lv.pool}'),

    # Whether somebody uses it.
    Rule(lambda case: case.lv.is_open and not case.policy.in_use,
         'is open{case.users}',
         'stop what uses it, see `lsblk` and `fuser -vm` for its device; '
         'or set lvm_manage_in_use'),
    Rule(lambda case: ('X' in case.lv.attr[_STATE:]
                       and not case.policy.without_device_mapper),
         'is in a state that LVM cannot tell (lv_attr {lv.attr})',
         'see that device-mapper works on this host; only if nothing is '
         'ever active here, set lvm_manage_without_device_mapper'),

    # Whether the group lets itself be changed.
    Rule(lambda case: case.inventory.exported,
         'lies in the exported volume group {vg}',
         'vgimport {vg}'),
    Rule(lambda case: case.inventory.partial,
         'lies in volume group {vg}, of which a physical volume is missing: '
         'LVM refuses to change it',
         'bring it back, or vgreduce --removemissing {vg}'),
    Rule(lambda case: not case.inventory.writeable,
         'lies in the read-only volume group {vg}',
         'vgcfgrestore metadata in which it is writeable'),

    # Whether it is what this backend's volumes are.
    Rule(lambda case: case.lv.is_thin and case.policy.thin_pool is None,
         "is thin, in pool {lv.pool}, but this backend's volumes are thick",
         'manage it through a backend with lvm_type = thin',
         Kind.TYPE_MISMATCH),
    Rule(lambda case: (case.lv.is_thin
                       and case.policy.thin_pool is not None
                       and case.lv.pool != case.policy.thin_pool),
         'lies in thin pool {lv.pool}, but this backend has its volumes in '
         '{case.policy.thin_pool}',
         'manage it through a backend with that pool',
         Kind.TYPE_MISMATCH),
    Rule(_OfShape(lambda shape: ('vdo' in shape.layouts
                                 and 'pool' not in shape.layouts)),
         "is a VDO volume, in pool {lv.pool}, as no backend's are",
         'copy it to an LV of its own and manage that',
         Kind.TYPE_MISMATCH),
    Rule(lambda case: (case.policy.thin_pool is not None
                       and not case.lv.is_thin),
         'is thick, but this backend has its volumes in thin pool '
         '{case.policy.thin_pool}',
         'manage it through a backend with lvm_type = default',
         Kind.TYPE_MISMATCH),
)


AS_VOLUME = (
    Rule(lambda case: case.policy.names.is_snapshot(case.lv),
         'is a snapshot of {lv.origin}',
         'manage it as a snapshot, once {lv.origin} is managed'),
    Rule(_attr(_TYPE, 'O'),
         'has a snapshot that is being merged into it',
         'wait until the merge is done'),
    Rule(_attr(_PERMISSIONS, 'r'),
         'is read-only',
         'lvchange --permission rw {vg}/{lv.name}'),
    Rule(_attr(_PERMISSIONS, 'R'),
         'is activated read-only',
         'take it out of activation/read_only_volume_list in lvm.conf and '
         'lvchange --refresh {vg}/{lv.name}'),

    # Whether it can be made as long as its whole GiB.
    Rule(lambda case: case.missing,
         'is to be extended from {lv.size} to {case.extend_to} bytes, but '
         'volume group {vg} has {case.inventory.free} free',
         'vgextend {vg}, or unset lvm_manage_extend_to_gib'),
    Rule(lambda case: (case.extend_to and case.lv.activation.active
                       and case.lv.attr[_TYPE] == 'o'),
         'is to be extended to {case.extend_to} bytes, which LVM does not do '
         'to an active LV with thick snapshots',
         'lvchange --activate n {vg}/{lv.name}, or unset '
         'lvm_manage_extend_to_gib'),

    # Whether it is what the volume's type asks for.
    Rule(lambda case: case.lv.provisioning not in case.claim.provisioning,
         'is {lv.provisioning}, which the volume type does not allow',
         'manage it with a volume type whose provisioning:type is '
         '{lv.provisioning}, or that has none',
         Kind.TYPE_MISMATCH),
    # os_brick/encryptors/luks.py, attach_volume; Cinder means to refuse it,
    # but looks for the encryption where it is not (cinder/volume/api.py,
    # _is_encrypted).
    Rule(lambda case: case.claim.encrypted,
         'is to be of a volume type with encryption: what is no LUKS device '
         'is formatted as one when it is attached, and its data lost',
         'manage it with a volume type without encryption',
         Kind.TYPE_MISMATCH),
)

AS_SNAPSHOT = (
    Rule(lambda case: not case.policy.names.is_snapshot(case.lv),
         'is not a snapshot',
         'manage it as a volume'),
    Rule(lambda case: (case.policy.names.is_snapshot(case.lv)
                       and case.claim.origin_owner is None),
         'is a snapshot of LV {lv.origin}, which is no volume of Cinder',
         'manage {lv.origin} as a volume first'),
    Rule(lambda case: (case.claim.origin_owner is not None
                       and case.claim.parent is not None
                       and case.claim.origin_owner != case.claim.parent),
         'is a snapshot of volume {claim.origin_owner}, not of volume '
         '{claim.parent}',
         'manage it under volume {claim.origin_owner}'),
)

_RULES = {Claim: AS_ANY + AS_VOLUME, SnapshotClaim: AS_ANY + AS_SNAPSHOT}


# There are few different shapes in a group: what they alone decide is looked
# up once for each. To judge many LVs takes a third of the time, so.
@functools.cache
def left_by(shape: Shape, claim: type[Claim]) -> tuple[Rule, ...]:
    """The rules but those that apply to no LV of this shape."""
    return tuple(rule for rule in _RULES[claim]
                 if not isinstance(rule.applies, _OfShape)
                 or rule.applies.decides(shape))
