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

"""Which system made an LV, by its name and tags and those of its group.

A disk of another system can be managed, so its owner is information. An LV
with a system's own data, and not a disk, cannot be managed.

libvirt's storage pools leave no mark: their LVs have names that users chose.
"""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
import functools
import re

_UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'


@dataclasses.dataclass(frozen=True)
class ForeignOwner:
    """The system that made an LV.

    :ivar system: its name
    :ivar item: what the LV is or belongs to there; empty if not known
    :ivar why: why it is not a disk, as words that follow its name; empty if
        it may be one
    :ivar remedy: what to do about that
    """

    system: str
    item: str = ''
    why: str = ''
    remedy: str = ''

    def __str__(self) -> str:
        return f'{self.system}, {self.item}' if self.item else self.system


@dataclasses.dataclass(frozen=True)
class _Mark:
    """A line of the table: the system made the LV if all patterns match.

    The texts may have named groups of the patterns in braces, or `path` for
    the group `id` without LXD's escapes.

    :ivar lv: pattern of the whole name of the LV; likewise tag, of one of its
        tags, vg, of the group's name, and vg_tag
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
        """Return the owner if the mark is there."""
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
                   'used, remove it there')
_LEAVE_TO_CEPH = ('leave it to Ceph; if that OSD no longer exists, run '
                  '`ceph-volume lvm zap`')
_EXPORT_VHD = ('export its disk with `xe vdi-export uuid={id} format=raw '
               'filename=FILE`, and write that to a new LV')
_LINSTOR_DATA = 'manage {id}_{number}, after DRBD is removed from it'
_GANETI_DATA = 'manage {disk}_data, after DRBD is removed from it'

# The first that matches counts.
_MARKS = (
    # This driver. cinder_lvm_manage/adoption.py
    _Mark('Cinder', 'managed as {id}', tag='cinder_lvm_manage:id=(?P<id>.+)'),
    # Cinder itself. cinder/db/api.py and cinder/volume/drivers/lvm.py: the
    # defaults of the templates, and the underscore that LVM makes necessary.
    _Mark('Cinder', 'volume {id}', lv=f'volume-(?P<id>{_UUID})'),
    _Mark('Cinder', 'snapshot {id}', lv=f'_snapshot-(?P<id>{_UUID})'),
    # Nova, images_type = lvm. nova/virt/libvirt/imagebackend.py, class Lvm
    _Mark('Nova', 'instance {id}', lv=rf'(?P<id>{_UUID})_disk(\..+)?'),
    # Proxmox VE. qemu-server's PVE/QemuConfig.pm (state); pve-storage's
    # PVE/Storage/LVMPlugin.pm and LvmThinPlugin.pm
    _Mark('Proxmox VE', 'guest {id}', lv=r'vm-(?P<id>\d+)-state-.+',
          why='is the saved memory of Proxmox VE guest {id}',
          remedy="manage the guest's disks, named vm-{id}-disk-N"),
    _Mark('Proxmox VE', 'guest {id}, snapshot {snapshot}',
          lv=r'snap_vm-(?P<id>\d+)-[^_]+_(?P<snapshot>.+?)(\.qcow2)?'),
    _Mark('Proxmox VE', 'template {id}', lv=r'base-(?P<id>\d+)-.+'),
    _Mark('Proxmox VE', 'guest {id}', lv=r'vm-(?P<id>\d+)-.+'),
    _Mark('Proxmox VE', 'guest {id}', tag=r'pve-vm-(?P<id>\d+)'),
    # oVirt. vdsm's lib/vdsm/storage/blockSD.py, sd.py and constants.py
    _Mark('oVirt', 'storage domain {domain}',
          lv='(?P<id>metadata|ids|leases|xleases|inbox|outbox|master)',
          vg='(?P<domain>.+)', vg_tag='RHAT_storage_domain.*',
          why='is the {id} volume of an oVirt storage domain',
          remedy=_LEAVE_TO_OVIRT),
    _Mark('oVirt', 'image {id}', tag=rf'IU_\w*?(?P<id>{_UUID})'),
    _Mark('oVirt', 'storage domain {domain}', vg='(?P<domain>.+)',
          vg_tag='RHAT_storage_domain.*'),
    # XCP-ng and XenServer. sm's libs/sm/lvhdutil.py and lvutil.py
    _Mark('XCP-ng', 'storage repository {repository}', lv='MGT',
          vg='VG_XenStorage-(?P<repository>.+)',
          why='holds the metadata of an XCP-ng storage repository',
          remedy='leave it to XCP-ng'),
    _Mark('XCP-ng', 'VDI {id}', lv=f'VHD-(?P<id>{_UUID})',
          why='is a VHD of XCP-ng, which may need others of its chain',
          remedy=_EXPORT_VHD),
    _Mark('XCP-ng', 'VDI {id}', lv=f'LV-(?P<id>{_UUID})'),
    _Mark('XCP-ng', 'storage repository {repository}',
          vg='VG_XenStorage-(?P<repository>.+)'),
    # Ganeti. lib/cmdlib/instance_storage.py, _GenerateUniqueNames and its
    # callers; lib/cmdlib/instance_utils.py, GetInstanceInfoText
    _Mark('Ganeti', 'instance {instance}',
          lv=rf'(?P<disk>{_UUID}\.disk\d+)_meta',
          tag=r'originstname\+(?P<instance>.+)',
          why='has the DRBD metadata of a disk of Ganeti instance {instance}',
          remedy=_GANETI_DATA),
    _Mark('Ganeti', lv=rf'(?P<disk>{_UUID}\.disk\d+)_meta',
          why='has the DRBD metadata of a disk of a Ganeti instance',
          remedy=_GANETI_DATA),
    _Mark('Ganeti', 'instance {instance}',
          tag=r'originstname\+(?P<instance>.+)'),
    _Mark('Ganeti', lv=rf'{_UUID}\.disk\d+(_data)?'),
    # Ceph. ceph-volume's devices/lvm/prepare.py and api/lvm.py
    _Mark('Ceph', 'OSD {id}', tag=r'ceph\.osd_id=(?P<id>\d+)',
          why='belongs to Ceph OSD {id}', remedy=_LEAVE_TO_CEPH),
    _Mark('Ceph', 'OSD {id}',
          lv=rf'osd-(?:block|data|db|journal|wal)-(?P<id>{_UUID})',
          why='belongs to the Ceph OSD with the UUID {id}',
          remedy=_LEAVE_TO_CEPH),
    # LXD and Incus. lxd/storage/drivers/driver_lvm_utils.go,
    # lvmFullVolumeName, and volume.go: the types
    _Mark('LXD or Incus', 'container {path}', lv='containers_(?P<id>.+)'),
    _Mark('LXD or Incus', 'virtual machine {path}',
          lv=r'virtual-machines_(?P<id>.+?)(\.block)?'),
    _Mark('LXD or Incus', 'custom volume {path}',
          lv=r'custom_(?P<id>.+?)(\.block|\.iso)?'),
    _Mark('LXD or Incus', 'image {id}', lv=r'images_(?P<id>.+?)(\.block)?'),
    # LINSTOR. LvmProvider.java, FORMAT_RSC_TO_LVM_ID and FORMAT_SNAP_TO_LVM_ID
    # (volume numbers have five digits; only those up to nine count, because
    # many other names end in five digits); RscLayerSuffixes.java
    _Mark('LINSTOR', 'resource {id}',
          lv=r'(?P<id>.+)\.meta_(?P<number>0000\d)',
          why='has the DRBD metadata of LINSTOR resource {id}',
          remedy=_LINSTOR_DATA),
    _Mark('LINSTOR', 'resource {id}',
          lv=(r'(?P<id>.+)\.(cache|dmcache_cache|dmcache_meta|bcache)'
              r'_(?P<number>0000\d)'),
          why='is a cache of LINSTOR resource {id}',
          remedy='manage {id}_{number}, after the cache is removed from it'),
    _Mark('LINSTOR', 'resource {id}', lv=r'(?P<id>.+)_0000\d(_.+)?'),
    # Qubes OS. qubes-core-admin's qubes/storage/lvm.py, class ThinPool
    _Mark('Qubes OS', 'qube {id}',
          lv=r'vm-(?P<id>.+)-(?:private|root|volatile)(-.+)?'),
    # OpenNebula. Its LVM datastore: /dev/vg-one-DATASTORE/lv-one-VM-DISK
    _Mark('OpenNebula', 'VM {id}', lv=r'lv-one-(?P<id>\d+)-\d+'),
    # OpenEBS LVM LocalPV, pkg/driver/controller.go: the name that Kubernetes'
    # external-provisioner makes.
    _Mark('OpenEBS or another CSI driver', 'persistent volume {id}',
          lv=f'(?P<id>pvc-{_UUID})'),
    # TopoLVM. internal/controller/logicalvolume_controller.go: the UID of a
    # LogicalVolume.
    _Mark('TopoLVM or another that names LVs by UUIDs', lv=_UUID),
)


def owner_of(lv_name: str, lv_tags: Iterable[str], vg_name: str,
             vg_tags: Iterable[str]) -> ForeignOwner | None:
    """Return the system that made the LV; None if it cannot be determined."""
    return next((owner for mark in _MARKS if (owner := mark.owner(
        lv_name, lv_tags, vg_name, vg_tags))), None)
