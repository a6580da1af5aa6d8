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

"""Which other system created an LV, by the names and tags of LV and group.

Disks of another system can be managed. An LV that is not a disk, but has the
system's own data, cannot.

libvirt cannot be recognized: users choose the names in its storage pools.
"""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
import functools
import re

from cinder_lvm_manage.naming import UUID


@dataclasses.dataclass(frozen=True)
class ForeignOwner:
    """The system that created an LV.

    :ivar system: its name
    :ivar item: what the LV belongs to in that system; empty if not known
    :ivar why: why the LV is not a disk; completes a sentence that begins with
        the LV's name. Empty if it may be a disk
    :ivar remedy: what to do about it
    """

    system: str
    item: str = ''
    why: str = ''
    remedy: str = ''

    def __str__(self) -> str:
        return f'{self.system}, {self.item}' if self.item else self.system


@dataclasses.dataclass(frozen=True)
class Mark:
    """A line of the table: if all patterns match, the system created the LV.

    The texts name groups of the patterns in braces; {path} is the group id
    without LXD's escapes.

    :ivar lv: pattern of the LV's name; tag, vg and vg_tag are those of one of
        its tags, the volume group's name, and one of the group's tags
    """

    system: str
    item: str = ''
    lv: str = ''
    tag: str = ''
    vg: str = ''
    vg_tag: str = ''
    why: str = ''
    remedy: str = ''

    def owner(self, lv_name: str, lv_tags: Iterable[str], vg_name: str,
              vg_tags: Iterable[str]) -> ForeignOwner | None:
        """Return the owner; None if a pattern does not match."""
        words: dict[str, str] = {}
        texts = ((lv_name,), lv_tags, (vg_name,), vg_tags)
        for place, pattern in self._patterns:
            match = next(filter(None, map(pattern.fullmatch, texts[place])),
                         None)
            if match is None:
                return None
            words |= match.groupdict()
        # LXD writes - as -- and / as -.
        words['path'] = re.sub('--?', lambda escape: '/-'[len(escape[0]) - 1],
                               words.get('id', ''))
        return ForeignOwner(*(text.format(**words) for text in (
            self.system, self.item, self.why, self.remedy)))

    @functools.cached_property
    def _patterns(self) -> list[tuple[int, re.Pattern[str]]]:
        return [(place, re.compile(pattern)) for place, pattern
                in enumerate((self.lv, self.tag, self.vg, self.vg_tag))
                if pattern]


_LEAVE_TO_OVIRT = ('leave it to oVirt; if the storage domain is no longer '
                   'used, remove it in oVirt')
_LEAVE_TO_CEPH = ('leave it to Ceph; if that OSD no longer exists, run '
                  '`ceph-volume lvm zap`')
_EXPORT_VHD = ('export its disk with `xe vdi-export uuid={id} format=raw '
               'filename=FILE`, copy FILE to a new LV and manage that')
_LINSTOR_DATA = 'remove DRBD from {id}_{number}, then manage that'
_GANETI_DATA = 'remove DRBD from {disk}_data, then manage that'

# The first line that matches applies.
MARKS = (
    # This driver. cinder_lvm_manage/adoption.py
    Mark('Cinder', 'managed as {id}', tag='cinder_lvm_manage:id=(?P<id>.+)'),
    # Cinder. The defaults of the templates in cinder/db/api.py; the underscore
    # is from cinder/volume/drivers/lvm.py.
    Mark('Cinder', 'volume {id}', lv=f'volume-(?P<id>{UUID})'),
    Mark('Cinder', 'snapshot {id}', lv=f'_snapshot-(?P<id>{UUID})'),
    # Nova, images_type = lvm. nova/virt/libvirt/imagebackend.py, class Lvm
    Mark('Nova', 'instance {id}', lv=rf'(?P<id>{UUID})_disk(\..+)?'),
    # Proxmox VE. qemu-server's PVE/QemuConfig.pm (state); pve-storage's
    # PVE/Storage/LVMPlugin.pm and LvmThinPlugin.pm
    Mark('Proxmox VE', 'guest {id}', lv=r'vm-(?P<id>\d+)-state-.+',
         why='is the saved memory of Proxmox VE guest {id}',
         remedy="manage the guest's disks, named vm-{id}-disk-N"),
    Mark('Proxmox VE', 'guest {id}, snapshot {snapshot}',
         lv=r'snap_vm-(?P<id>\d+)-[^_]+_(?P<snapshot>.+?)(\.qcow2)?'),
    Mark('Proxmox VE', 'template {id}', lv=r'base-(?P<id>\d+)-.+'),
    Mark('Proxmox VE', 'guest {id}', lv=r'vm-(?P<id>\d+)-.+'),
    Mark('Proxmox VE', 'guest {id}', tag=r'pve-vm-(?P<id>\d+)'),
    # oVirt. vdsm's lib/vdsm/storage/blockSD.py, sd.py and constants.py
    Mark('oVirt', 'storage domain {domain}',
         lv='(?P<id>metadata|ids|leases|xleases|inbox|outbox|master)',
         vg='(?P<domain>.+)', vg_tag='RHAT_storage_domain.*',
         why='is the {id} volume of an oVirt storage domain',
         remedy=_LEAVE_TO_OVIRT),
    Mark('oVirt', 'image {id}', tag=rf'IU_\w*?(?P<id>{UUID})'),
    Mark('oVirt', 'storage domain {domain}', vg='(?P<domain>.+)',
         vg_tag='RHAT_storage_domain.*'),
    # XCP-ng and XenServer. sm's libs/sm/lvhdutil.py and lvutil.py
    Mark('XCP-ng', 'storage repository {repository}', lv='MGT',
         vg='VG_XenStorage-(?P<repository>.+)',
         why='contains the metadata of an XCP-ng storage repository',
         remedy='leave it to XCP-ng'),
    Mark('XCP-ng', 'VDI {id}', lv=f'VHD-(?P<id>{UUID})',
         why='is an XCP-ng VHD, which may depend on other VHDs in its chain',
         remedy=_EXPORT_VHD),
    Mark('XCP-ng', 'VDI {id}', lv=f'LV-(?P<id>{UUID})'),
    Mark('XCP-ng', 'storage repository {repository}',
         vg='VG_XenStorage-(?P<repository>.+)'),
    # Ganeti. lib/cmdlib/instance_storage.py, _GenerateUniqueNames and its
    # callers; lib/cmdlib/instance_utils.py, GetInstanceInfoText
    Mark('Ganeti', 'instance {instance}',
         lv=rf'(?P<disk>{UUID}\.disk\d+)_meta',
         tag=r'originstname\+(?P<instance>.+)',
         why='contains the DRBD metadata of a disk of Ganeti instance '
             '{instance}',
         remedy=_GANETI_DATA),
    Mark('Ganeti', lv=rf'(?P<disk>{UUID}\.disk\d+)_meta',
         why='contains the DRBD metadata of a disk of a Ganeti instance',
         remedy=_GANETI_DATA),
    Mark('Ganeti', 'instance {instance}',
         tag=r'originstname\+(?P<instance>.+)'),
    Mark('Ganeti', lv=rf'{UUID}\.disk\d+(_data)?'),
    # Ceph. ceph-volume's devices/lvm/prepare.py and api/lvm.py
    Mark('Ceph', 'OSD {id}', tag=r'ceph\.osd_id=(?P<id>\d+)',
         why='belongs to Ceph OSD {id}', remedy=_LEAVE_TO_CEPH),
    Mark('Ceph', 'OSD {id}',
         lv=rf'osd-(?:block|data|db|journal|wal)-(?P<id>{UUID})',
         why='belongs to the Ceph OSD with the UUID {id}',
         remedy=_LEAVE_TO_CEPH),
    # LXD and Incus. lxd/storage/drivers/driver_lvm_utils.go,
    # lvmFullVolumeName, and volume.go: the types
    Mark('LXD or Incus', 'container {path}', lv='containers_(?P<id>.+)'),
    Mark('LXD or Incus', 'virtual machine {path}',
         lv=r'virtual-machines_(?P<id>.+?)(\.block)?'),
    Mark('LXD or Incus', 'custom volume {path}',
         lv=r'custom_(?P<id>.+?)(\.block|\.iso)?'),
    Mark('LXD or Incus', 'image {id}', lv=r'images_(?P<id>.+?)(\.block)?'),
    # LINSTOR. LvmProvider.java, FORMAT_RSC_TO_LVM_ID and
    # FORMAT_SNAP_TO_LVM_ID; RscLayerSuffixes.java. Volume numbers have five
    # digits, but only those up to nine are recognized: many other names end in
    # five digits.
    Mark('LINSTOR', 'resource {id}',
         lv=r'(?P<id>.+)\.meta_(?P<number>0000\d)',
         why='contains the DRBD metadata of LINSTOR resource {id}',
         remedy=_LINSTOR_DATA),
    Mark('LINSTOR', 'resource {id}',
         lv=(r'(?P<id>.+)\.(cache|dmcache_cache|dmcache_meta|bcache)'
             r'_(?P<number>0000\d)'),
         why='is a cache of LINSTOR resource {id}',
         remedy='remove the cache from {id}_{number}, then manage that'),
    Mark('LINSTOR', 'resource {id}', lv=r'(?P<id>.+)_0000\d(_.+)?'),
    # Qubes OS. qubes-core-admin's qubes/storage/lvm.py, class ThinPool
    Mark('Qubes OS', 'qube {id}',
         lv=r'vm-(?P<id>.+)-(?:private|root|volatile)(-.+)?'),
    # OpenNebula. Its LVM datastore: /dev/vg-one-DATASTORE/lv-one-VM-DISK
    Mark('OpenNebula', 'VM {id}', lv=r'lv-one-(?P<id>\d+)-\d+'),
    # OpenEBS LVM LocalPV, pkg/driver/controller.go: the name is from
    # Kubernetes' external-provisioner.
    Mark('OpenEBS or another CSI driver', 'persistent volume {id}',
         lv=f'(?P<id>pvc-{UUID})'),
    # TopoLVM. internal/controller/logicalvolume_controller.go: the UID of a
    # LogicalVolume.
    Mark('TopoLVM or another system that names LVs by UUID', lv=UUID),
)


def owner_of(lv_name: str, lv_tags: Iterable[str], vg_name: str,
             vg_tags: Iterable[str]) -> ForeignOwner | None:
    """Return the system that created the LV; None if it is not known."""
    return next((owner for mark in MARKS if (owner := mark.owner(
        lv_name, lv_tags, vg_name, vg_tags))), None)
