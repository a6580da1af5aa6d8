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

They follow "lv_attr bits" in lvs(8). Only verdict.judge applies them.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import enum
import re
import typing

from cinder_lvm_manage.case import Case
from cinder_lvm_manage.claim import Claim
from cinder_lvm_manage.claim import SnapshotClaim
from cinder_lvm_manage.claim import VolumeClaim
from cinder_lvm_manage.lv_attr import Health
from cinder_lvm_manage.lv_attr import Permissions
from cinder_lvm_manage.lv_attr import State
from cinder_lvm_manage.lv_attr import VolumeType

ClaimT = typing.TypeVar('ClaimT', bound=Claim, contravariant=True)


class Kind(enum.Enum):
    """What kind of obstacle a reason is, in the order of precedence."""

    ALREADY_MANAGED = 'already-managed'
    UNSAFE = 'unsafe'
    TYPE_MISMATCH = 'type-mismatch'


@dataclasses.dataclass(frozen=True)
class Rule(typing.Generic[ClaimT]):
    """One line of a table; verdict.judge says what its texts may name.

    :ivar code: identifies the reason for programs; it never changes
    :ivar why: completes a sentence that begins with the LV's name
    """

    code: str
    applies: Callable[[Case[ClaimT]], object]
    why: str
    remedy: str
    kind: Kind = Kind.UNSAFE


def _pool_health(character: str) -> Callable[[Case[Claim]], bool]:
    return lambda case: (case.thin_pool is not None
                         and case.thin_pool.attr.health == character)


def _is_pool(case: Case[Claim], layout: str) -> bool:
    return {'pool', layout} <= set(case.lv.layouts)


# The snapshot from which Cinder's LVM driver copies a thick clone.
_CINDERS_TEMPORARY = re.compile(r'clone-snap-[0-9a-f-]{36}')

AS_ANY: tuple[Rule[Claim], ...] = (
    # Whether it already belongs to Cinder or LVM.
    Rule('already-managed',
         lambda case: case.ownership == 'already-managed',
         'is already managed as {claim.owner.kind} {claim.owner.id}',
         'no action is needed; to manage it again, unmanage that '
         '{claim.owner.kind} first',
         Kind.ALREADY_MANAGED),
    Rule('already-managed-elsewhere',
         lambda case: case.ownership == 'already-managed-elsewhere',
         'is already managed as {claim.owner.kind} {claim.owner.id} by '
         '{claim.owner.host}',
         'leave it to that host if both hosts see the same disks; if {vg} is '
         "a copy of that host's volume group, do not unmanage "
         '{claim.owner.id}, which would change the original, but run '
         '`lvrename {vg} {lv.name} NEWNAME` here{case.journal_removal}',
         Kind.ALREADY_MANAGED),
    Rule('manage-incomplete',
         lambda case: case.ownership == 'manage-incomplete',
         'is already managed as {claim.owner.kind} {claim.owner.id}, which '
         'has not become available (status {claim.owner.status})',
         'wait if it is still being managed; otherwise set its state to '
         'error and delete it, which restores the LV',
         Kind.ALREADY_MANAGED),
    Rule('owner-in-error',
         lambda case: case.ownership == 'owner-in-error',
         'is already managed as {claim.owner.kind} {claim.owner.id}, whose '
         'status is {claim.owner.status}',
         'find the cause in the log of cinder-volume, then repeat what '
         'failed, or reset the state of the {claim.owner.kind}',
         Kind.ALREADY_MANAGED),
    Rule('id-in-name',
         lambda case: case.ownership == 'id-in-name',
         'has the ID of {claim.owner.kind} {claim.owner.id} in its name, '
         'which exists in Cinder{case.on_host}',
         'if volume_name_template or snapshot_name_template has been '
         'changed, change it back, because the LV is that '
         "{claim.owner.kind}'s; otherwise rename the LV with `lvrename {vg} "
         '{lv.name} NEWNAME`',
         Kind.ALREADY_MANAGED),
    Rule('clone-snapshot',
         lambda case: _CINDERS_TEMPORARY.fullmatch(case.lv.name),
         "is Cinder's temporary snapshot for a clone",
         'wait until the clone is complete, when Cinder removes it; if no '
         'clone is being made, remove it with `lvremove {vg}/{lv.name}`'),
    Rule('lvmlockd-leases',
         lambda case: case.lv.name == 'lvmlock',
         'holds the leases of lvmlockd',
         'do not manage it: lvmlockd uses it'),

    # Whether its name could be restored.
    Rule('name-not-restorable',
         lambda case: case.unusable_name,
         'has a name that unmanage could not restore: {case.unusable_name}',
         'rename it with `lvrename {vg} {lv.name} NEWNAME`'),

    # What LVM keeps for its own use, and pools.
    Rule('thin-pool',
         lambda case: _is_pool(case, 'thin'),
         'is a thin pool',
         'manage the thin volumes in it'),
    Rule('vdo-pool',
         lambda case: _is_pool(case, 'vdo'),
         'is a VDO pool',
         'do not manage it: no backend supports VDO volumes'),
    Rule('cache-pool',
         lambda case: _is_pool(case, 'cache'),
         'is a cache pool',
         'manage the LV that it caches'),
    Rule('internal',
         lambda case: ('private' in case.lv.roles
                       and 'pool' not in case.lv.layouts),
         'is internal to LVM',
         'manage the LV that it is part of'),
    Rule('unknown-segments',
         lambda case: case.lv.has_unknown_segments,
         'has segments of a type that this LVM does not know',
         'use an LVM version that knows the type; do not remove the LV, '
         'because its data may be intact'),
    Rule('no-storage',
         lambda case: (case.lv.attr.volume_type == VolumeType.VIRTUAL
                       and 'vdo' not in case.lv.layouts
                       and not case.lv.has_unknown_segments),
         'has segments that store no data (type error or zero)',
         'see `lvs --segments {vg}/{lv.name}`; restore what is missing with '
         'vgcfgrestore, or copy what is readable to a new LV'),

    # What it is to other LVs.
    Rule('merging-snapshot',
         lambda case: (case.lv.attr.volume_type
                       == VolumeType.MERGING_SNAPSHOT),
         'is being merged into its origin',
         'wait until the merge is complete, then manage {lv.origin}'),
    Rule('external-origin',
         lambda case: any(role.endswith('extthinorigin')
                          for role in case.lv.roles),
         'is the external origin of {case.dependents}, which would be '
         'lost with it',
         'copy it to a new LV and manage that'),

    # What LVM is doing to it.
    Rule('pvmove',
         lambda case: case.lv.attr.volume_type == VolumeType.PVMOVE,
         'is the temporary LV of a pvmove',
         'wait until pvmove is complete'),
    Rule('converting',
         lambda case: case.lv.attr.volume_type == VolumeType.CONVERTING,
         'is being converted',
         'wait until lvconvert is complete'),
    Rule('locked-by-pvmove',
         lambda case: case.lv.attr.allocation.isupper(),
         'is locked by a pvmove',
         'wait until pvmove is complete, or run `pvmove --abort`'),
    Rule('reshaping',
         lambda case: case.lv.attr.health == Health.RESHAPING,
         'is being reshaped',
         'wait until lvconvert is complete'),
    Rule('reshape-unfinished',
         lambda case: case.lv.attr.health == Health.REMOVE,
         'has images to be removed after a reshape',
         'finish the reshape with `lvconvert --stripes`, see lvmraid(7)'),

    # Whether its data can be read and written.
    Rule('suspended',
         lambda case: case.lv.is_suspended,
         'is suspended',
         'run `dmsetup resume` on its device'),
    Rule('invalid-snapshot',
         lambda case: case.lv.is_invalid_snapshot,
         'is an invalid snapshot',
         'remove it with `lvremove {vg}/{lv.name}`; its data is lost'),
    Rule('merge-failed',
         lambda case: case.lv.attr.state in (
             State.MERGE_FAILED, State.SUSPENDED_MERGE_FAILED),
         'is a snapshot whose merge has failed',
         'see lvconvert --merge in lvconvert(8)'),
    Rule('no-live-table',
         lambda case: case.lv.attr.state in (State.NO_TABLE,
                                             State.INACTIVE_TABLE),
         'has a device without a live table',
         'run `lvchange --refresh {vg}/{lv.name}`'),
    Rule('needs-check',
         lambda case: case.lv.attr.state in (State.NEEDS_CHECK,
                                             State.SUSPENDED_NEEDS_CHECK),
         'needs a check',
         'run `lvconvert --repair {vg}/{lv.name}`'),
    Rule('historical',
         lambda case: case.lv.attr.state == State.HISTORICAL,
         'is historical: only its name is left',
         'there is nothing to manage'),
    Rule('partial',
         lambda case: case.lv.attr.health == Health.PARTIAL,
         'is on a missing physical volume',
         'reconnect the device, then run `vgextend --restoremissing {vg} PV`'),
    Rule('raid-refresh',
         lambda case: case.lv.attr.health == Health.REFRESH,
         'has a RAID image that needs refresh or repair',
         'run `lvchange --refresh {vg}/{lv.name}` or `lvconvert --repair '
         '{vg}/{lv.name}`'),
    Rule('raid-mismatches',
         lambda case: case.lv.attr.health == Health.MISMATCHES,
         'has RAID images that differ',
         'run `lvchange --syncaction repair {vg}/{lv.name}`'),
    Rule('writecache-error',
         lambda case: case.lv.attr.health == Health.ERROR,
         'has errors in its writecache',
         'see lvmcache(7)'),
    Rule('failed',
         lambda case: case.lv.attr.health == Health.FAILED,
         'has failed',
         'see lvmthin(7) or lvmraid(7) for how to repair it'),
    Rule('out-of-data',
         lambda case: case.lv.attr.health == Health.OUT_OF_DATA,
         'is out of data space',
         'extend it with lvextend'),
    Rule('metadata-read-only',
         lambda case: case.lv.attr.health == Health.METADATA_READ_ONLY,
         'has read-only metadata',
         'see lvmthin(7) for how to repair its metadata'),
    Rule('pool-failed',
         _pool_health(Health.FAILED),
         'is in thin pool {lv.pool}, which has failed',
         'run `lvconvert --repair {vg}/{lv.pool}`'),
    Rule('pool-out-of-data',
         _pool_health(Health.OUT_OF_DATA),
         'is in thin pool {lv.pool}, which is out of data space',
         'extend the pool with lvextend'),
    Rule('pool-metadata-read-only',
         _pool_health(Health.METADATA_READ_ONLY),
         'is in thin pool {lv.pool}, whose metadata is read-only',
         'run `lvconvert --repair {vg}/{lv.pool}`'),
    Rule('pool-partial',
         _pool_health(Health.PARTIAL),
         'is in thin pool {lv.pool}, which is on a missing physical volume',
         'reconnect the device, then run `vgextend --restoremissing {vg} PV`'),
    Rule('pool-needs-check',
         lambda case: (case.thin_pool is not None
                       and case.thin_pool.attr.state in (
                           State.NEEDS_CHECK, State.SUSPENDED_NEEDS_CHECK)),
         'is in thin pool {lv.pool}, which needs a check',
         'run `lvconvert --repair {vg}/{lv.pool}`'),

    # Whether somebody uses it.
    Rule('in-use',
         lambda case: case.lv.is_in_use and not case.policy.in_use,
         'is open{case.held_by}',
         '{case.release}; or set lvm_manage_in_use'),
    Rule('undetermined',
         lambda case: (case.lv.attr.undetermined
                       and not case.policy.without_device_mapper),
         'is in a state that cannot be determined (lv_attr {lv.attr})',
         'check that device-mapper works on this host; set '
         'lvm_manage_without_device_mapper only if LVs are never activated '
         'on this host'),
    Rule('unknown-attr',
         lambda case: case.lv.attr.unknown,
         'is of a type or in a state that this driver does not know (lv_attr '
         '{lv.attr})',
         'upgrade this driver to a release that knows this LVM version'),

    # Whether the group can be changed.
    Rule('group-exported',
         lambda case: case.inventory.exported,
         'is in the exported volume group {vg}',
         'run `vgimport {vg}`'),
    Rule('group-partial',
         lambda case: case.inventory.partial,
         'is in volume group {vg}, which LVM does not change because a '
         'physical volume is missing',
         'reconnect the device; or, if it is lost, run `vgreduce '
         '--removemissing {vg}`'),
    Rule('group-read-only',
         lambda case: not case.inventory.writeable,
         'is in the read-only volume group {vg}',
         'restore metadata in which it is writeable, with vgcfgrestore'),
    Rule('device-read-only',
         lambda case: case.inventory.read_only_devices,
         'is in volume group {vg}, whose metadata cannot be written to '
         '{case.read_only_devices}, a read-only device',
         'make the device writeable, see blockdev(8)'),
    Rule('duplicate-devices',
         lambda case: case.inventory.duplicates,
         'is in volume group {vg}, which LVM does not change because of '
         'duplicate physical volumes on {duplicates}',
         'disconnect the copy, or hide it from LVM with lvmdevices(8) or a '
         'filter in lvm.conf'),
    Rule('group-unknown-segments',
         lambda case: case.inventory.has_unknown_segments,
         'is in volume group {vg}, which LVM does not change because it does '
         'not know all types of segments in it',
         'use an LVM version that knows them, see `lvs --all -o '
         'lv_name,segtype {vg}`'),
    Rule('no-lock',
         lambda case: not case.inventory.locked,
         'is in the shared volume group {vg}, whose lock LVM cannot get',
         'check that lvmlockd and its lock manager are running, then run '
         '`vgchange --lockstart {vg}`'),
    Rule('metadata-full',
         lambda case: case.inventory.metadata_free < case.metadata_needed,
         'is in volume group {vg}, whose metadata area has '
         '{case.inventory.metadata_free} bytes free; managing the LV may take '
         '{case.metadata_needed}',
         'remove unused LVs or tags from the group; or add a physical volume '
         'with a larger metadata area (pvcreate --metadatasize) and run '
         '`pvchange --metadataignore y` on those with a small one'),

    # Whether it is what this backend's volumes are.
    Rule('thin-on-thick-backend',
         lambda case: (case.lv.is_thin and case.policy.thin_pool is None
                       and case.lv.pool == case.cinders_pool),
         "is thin, in pool {lv.pool}, but this backend's volumes are thick",
         'manage it with a backend that has lvm_type = thin',
         Kind.TYPE_MISMATCH),
    Rule('other-pool',
         lambda case: (case.lv.is_thin and case.lv.pool != case.cinders_pool
                       and case.cinders_pool not in case.inventory.by_name),
         'is in thin pool {lv.pool}; Cinder only uses a thin pool named '
         '{case.cinders_pool}',
         'if nothing else needs the pool under its name, run `lvrename {vg} '
         '{lv.pool} {case.cinders_pool}`, and manage the LV with a backend '
         'that has lvm_type = thin',
         Kind.TYPE_MISMATCH),
    Rule('second-pool',
         lambda case: (case.lv.is_thin and case.lv.pool != case.cinders_pool
                       and case.cinders_pool in case.inventory.by_name),
         'is in thin pool {lv.pool}; Cinder only uses the thin pool '
         '{case.cinders_pool} of this volume group',
         'create a volume and copy the data of the LV to it',
         Kind.TYPE_MISMATCH),
    Rule('vdo',
         lambda case: ('vdo' in case.lv.layouts
                       and 'pool' not in case.lv.layouts),
         'is a VDO volume (pool {lv.pool}), which no backend supports',
         'copy it to a new LV and manage that',
         Kind.TYPE_MISMATCH),
    Rule('thick-on-thin-backend',
         lambda case: (case.policy.thin_pool is not None
                       and not case.lv.is_thin
                       and 'pool' not in case.lv.layouts),
         "is thick, but this backend's volumes are in thin pool "
         '{case.policy.thin_pool}',
         'manage it with a backend that has lvm_type = default',
         Kind.TYPE_MISMATCH),
)

# These apply only while no volume or snapshot of Cinder owns the LV: an
# instance may write anything to its volume.
ABOUT_CONTENTS: tuple[Rule[Claim], ...] = (
    Rule('image-format',
         lambda case: case.refused_images,
         'contains a {case.refused_image}, not a raw disk: instances would '
         'see the image file as their disk',
         '{case.image_conversion}; or allow the format with '
         'lvm_manage_image_formats'),
    Rule('contents-unknown',
         lambda case: case.contents.failed,
         'has contents that cannot be determined ({case.contents.note})',
         'check the device with `wipefs --no-act /dev/{vg}/{lv.name}` and the '
         'kernel log; or set lvm_manage_read_contents = False'),
    # By names and tags.
    Rule('not-a-disk',
         lambda case: case.foreign_owner and case.foreign_owner.why,
         '{case.foreign_owner.why}',
         '{case.foreign_owner.remedy}'),
    # By what was read.
    Rule('storage-metadata',
         lambda case: case.contents.storage_metadata,
         'contains {case.contents.storage_metadata.text}',
         '{case.contents.storage_metadata.remedy}'),
)

AS_VOLUME: tuple[Rule[VolumeClaim], ...] = (
    Rule('snapshot',
         lambda case: not case.policy.names.can_be_volume(case.lv),
         'is a snapshot of {lv.origin}',
         '{case.remedy_of_snapshot}'),
    Rule('merging-origin',
         lambda case: case.lv.attr.volume_type == VolumeType.MERGING_ORIGIN,
         'has a snapshot that is being merged into it',
         'wait until the merge is complete'),
    Rule('read-only',
         lambda case: case.lv.attr.permissions == Permissions.READ_ONLY,
         'is read-only',
         'run `lvchange --permission rw {vg}/{lv.name}`'
         '{case.effect_on_clones}'),
    Rule('activated-read-only',
         lambda case: (case.lv.attr.permissions
                       == Permissions.READ_ONLY_ACTIVATION),
         'is activated read-only',
         'remove it from activation/read_only_volume_list in lvm.conf, then '
         'run `lvchange --refresh {vg}/{lv.name}`'),

    # Whether LVM activates it under the name that Cinder gives it.
    Rule('not-in-volume-list',
         lambda case: (case.is_never_activated
                       and not case.policy.without_device_mapper),
         'could not be activated with its new name: activation/volume_list '
         'in lvm.conf does not include volume group {vg}',
         'add "{vg}" to activation/volume_list, then restart cinder-volume'),
    Rule('in-read-only-volume-list',
         lambda case: (case.is_activated_read_only
                       and not case.policy.without_device_mapper),
         'would be activated read-only: activation/read_only_volume_list in '
         'lvm.conf includes volume group {vg}, or a tag of the group or LV',
         'remove that entry from activation/read_only_volume_list, then '
         'restart cinder-volume'),

    # Whether it can be extended to its whole GiB.
    Rule('extend-inexact',
         lambda case: case.extended != (case.extend_to or 0),
         'cannot be extended to exactly {lv.size_gib} GiB: LVM would make it '
         '{case.extended} bytes long',
         'unset lvm_manage_extend_to_gib; a volume may be shorter than its '
         'recorded size'),
    Rule('no-room',
         lambda case: (case.extend_to and not case.inventory.has_room(
             case.lv, case.extended)),
         'must grow from {lv.size} to {case.extend_to} bytes, but volume '
         'group {vg} does not have enough free space',
         'add a physical volume with `vgextend {vg} PV`, or unset '
         'lvm_manage_extend_to_gib'),
    Rule('extend-active-origin',
         lambda case: (case.extend_to and case.lv.activation.active
                       and case.lv.attr.volume_type == VolumeType.ORIGIN),
         'must grow to {case.extend_to} bytes, which LVM cannot do while it '
         'is active and has thick snapshots',
         'run `lvchange --activate n {vg}/{lv.name}`, or unset '
         'lvm_manage_extend_to_gib'),

    # Whether it is what the volume's type asks for.
    Rule('type-provisioning',
         lambda case: case.lv.provisioning not in case.claim.provisioning,
         'is {lv.provisioning}, which the volume type does not allow',
         'manage it with a volume type whose provisioning:type is '
         '{lv.provisioning} or not set',
         Kind.TYPE_MISMATCH),
    # os_brick/encryptors/luks.py, attach_volume; Cinder means to refuse it,
    # but looks for the encryption where it is not (cinder/volume/api.py,
    # _is_encrypted).
    Rule('type-encrypted',
         lambda case: case.claim.encrypted,
         'cannot have an encrypted volume type: attaching it would format it '
         'as LUKS and destroy its data',
         'manage it with a volume type without encryption',
         Kind.TYPE_MISMATCH),
)

AS_SNAPSHOT: tuple[Rule[SnapshotClaim], ...] = (
    Rule('not-a-snapshot',
         lambda case: not case.policy.names.can_be_snapshot(case.lv),
         'is not a snapshot',
         'manage it as a volume'),
    Rule('foreign-snapshot',
         lambda case: (case.policy.names.can_be_snapshot(case.lv)
                       and case.claim.origin_owner is None),
         'is a snapshot of LV {lv.origin}, which Cinder does not manage',
         'manage {lv.origin} as a volume first{case.or_as_volume}'),
    Rule('snapshot-of-another-volume',
         lambda case: (case.claim.origin_owner is not None
                       and case.claim.parent is not None
                       and case.claim.origin_owner.id != case.claim.parent),
         'is a snapshot of volume {claim.origin_owner.id}, not of volume '
         '{claim.parent}',
         'manage it as a snapshot of volume {claim.origin_owner.id}'),
)
