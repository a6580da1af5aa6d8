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

"""LVs as other systems create them.

The systems' own code was read, and each class names the files. Their options,
names, tags, extent sizes and order of commands are used here; only sizes, pool
sizes and contents are the tests' own. Needs device-mapper.
"""

from __future__ import annotations

import abc
import hashlib
import os
import pathlib
import subprocess

from oslo_utils import units

from tests.lab.scratch import ScratchVolumeGroup

# Of a disk; oVirt's extents are longer.
SIZE = 16 * units.Mi
_KIB, _MIB = f'{SIZE // units.Ki}k', f'{SIZE // units.Mi}m'
_BYTES = f'{SIZE}b'

_BLANK = '00000000-0000-0000-0000-000000000000'
# Of LXD's images.
_FINGERPRINT, _VM_FINGERPRINT = '5b72cf46' * 8, 'ebfa66f8' * 8


def device(group: ScratchVolumeGroup, lv_name: str) -> pathlib.Path:
    return pathlib.Path('/dev', group.name, lv_name)


def write(path: pathlib.Path, mark: str, at: int = 0) -> None:
    """Write 4 MiB of a mark to a device."""
    with path.open('r+b') as file:
        file.seek(at)
        file.write(mark.encode() * (4 * units.Mi // len(mark)))
        os.fsync(file.fileno())


def digest(path: pathlib.Path, size: int = SIZE) -> str:
    """Return the SHA-256 of a device's first bytes."""
    with path.open('rb') as file:
        return hashlib.sha256(file.read(size)).hexdigest()


class OtherSystem(abc.ABC):
    """A system, and the volume group that it keeps its disks in.

    :cvar vg_name: a name that the system, or its manual, gives the group
    :cvar thin_pool: name of its thin pool; empty if its LVs are thick
    :cvar disks: LVs that are disks of its machines
    :cvar on_stop: what it runs for the LV {disk} when the machine is stopped
    """

    vg_name: str
    thin_pool = ''
    disks: tuple[str, ...]
    on_stop = ''

    def __init__(self, group: ScratchVolumeGroup) -> None:
        self.group = group

    def lvm(self, command: str) -> None:
        """Run an LVM command, with {vg} for the group's name."""
        self.group.lvm(*command.format(vg=self.group.name).split())

    def write(self, lv_name: str, mark: str, at: int = 0) -> None:
        write(device(self.group, lv_name), mark, at)

    @abc.abstractmethod
    def create(self) -> None:
        """Create the disks, with data, of machines that run."""

    def stop(self, disk: str) -> None:
        """Do what the system does to the LV when the machine is stopped."""
        if self.on_stop:
            self.lvm(self.on_stop.replace('{disk}', disk))


class ProxmoxThick(OtherSystem):
    """Proxmox VE with a storage of type lvm.

    pve-storage, src/PVE/Storage/LVMPlugin.pm: alloc_lvm_image and lvcreate;
    deactivate_volume; get_snap_name, for the chain of qcow2 images of a
    storage with snapshot-as-volume-chain.
    """

    vg_name = 'san'
    disks = ('vm-100-disk-0',)
    on_stop = 'lvchange -aln /dev/{vg}/{disk}'
    # Of machine 101: an image, and the one that it is the backing file of.
    chain = ('vm-101-disk-0.qcow2', 'snap_vm-101-disk-0_monday.qcow2')

    def create(self) -> None:
        self._create('vm-100-disk-0', '--addtag pve-vm-100')
        self.write('vm-100-disk-0', 'a disk of machine 100')

    def create_chain(self) -> None:
        """Create a qcow2 image with a backing file, each in an LV."""
        top, backing = self.chain
        for name in self.chain:
            self._create(name,
                         f'--addtag pve-vm-101 --addtag @pve-{top}')
        qemu_img = ('qemu-img', 'create', '-q', '-f', 'qcow2')
        subprocess.run((*qemu_img, str(device(self.group, backing)), '8M'),
                       check=True)
        # Common.pm's qemu_img_create_qcow2_backed: a relative name.
        subprocess.run((*qemu_img, '-F', 'qcow2', '-b', backing, '-o',
                        'extended_l2=on,cluster_size=128k',
                        str(device(self.group, top))), check=True)

    def _create(self, name: str, tags: str) -> None:
        self.lvm(f'lvcreate -aly -Wy --yes --size {_KIB} --name {name} '
                 f'--setautoactivation n {tags} {{vg}}')


class ProxmoxThin(OtherSystem):
    """Proxmox VE with a storage of type lvmthin.

    pve-storage, src/PVE/Storage/LvmThinPlugin.pm: alloc_image; create_base,
    for templates; clone_image; volume_snapshot; volume_snapshot_rollback.
    deactivate_volume does nothing to the disks of machines.
    """

    vg_name = 'pve'
    thin_pool = 'data'
    disks = ('vm-101-disk-0', 'vm-102-disk-0', 'vm-103-disk-0')

    def create(self) -> None:
        """Create a template, two linked clones, and a disk after a rollback.
        """
        self.lvm('lvcreate --yes --type thin-pool --size 512m --name data '
                 '{vg}')
        self._allocate('vm-100-disk-0')
        self.write('vm-100-disk-0', 'the template')
        self.lvm('lvrename {vg} vm-100-disk-0 base-100-disk-0')
        self.lvm('lvchange -pr -ky {vg}/base-100-disk-0')
        self.lvm('lvchange -an {vg}/base-100-disk-0')
        for name in ('vm-101-disk-0', 'vm-102-disk-0'):
            self._after_create(
                f'lvcreate -n {name} -prw -kn -s {{vg}}/base-100-disk-0', name)
            self.write(name, name, at=8 * units.Mi)
        self._allocate('vm-103-disk-0')
        self.write('vm-103-disk-0', 'before the snapshot')
        self.lvm('lvcreate -n snap_vm-103-disk-0_monday -pr -s '
                 '{vg}/vm-103-disk-0')
        self.write('vm-103-disk-0', 'after the snapshot')
        self.lvm('lvremove -f {vg}/vm-103-disk-0')
        self._after_create('lvcreate -kn -n vm-103-disk-0 -s '
                           '{vg}/snap_vm-103-disk-0_monday', 'vm-103-disk-0')

    def _allocate(self, name: str) -> None:
        self._after_create(f'lvcreate -aly -V {_KIB} --name {name} '
                           '--thinpool {vg}/data', name)

    def _after_create(self, command: str, name: str) -> None:
        self.lvm(command)
        self.lvm(f'lvchange --setautoactivation n {{vg}}/{name}')


class Ovirt(OtherSystem):
    """oVirt with a storage domain on a block device.

    vdsm, lib/vdsm/storage: lvm.py, createVG and createLV; blockVolume.py,
    _create, for disks; blockSD.py, create, for the domain's own LVs;
    constants.py, for the tags.
    """

    vg_name = '2c1ae5e9-5d2f-4b6c-9d53-0ba8a9ae3ef5'
    disks = ('7d1c2f4e-6d3b-4c0e-b26c-37c5b1a3b6d7',)
    on_stop = 'lvchange --autobackup n --available n {vg}/{disk}'
    own = ('metadata', 'ids', 'leases', 'xleases', 'inbox', 'outbox', 'master')
    thin_disk = '0f5a5b0e-8f0a-4b7b-a7f6-52c6d6e7f0a1'

    def create(self) -> None:
        tag = 'RHAT_storage_domain'
        physical_volume = self.group.lvm(
            'pvs', '--noheadings', '--options', 'pv_name', '--select',
            f'vg_name={self.group.name}').strip()
        self.lvm('vgremove {vg}')
        self.lvm('vgcreate --setautoactivation n --physicalextentsize 128m '
                 f'--addtag {tag}_UNREADY {{vg}} {physical_volume}')
        for name in self.own:
            self._create_lv(name)
        self.lvm(f'vgchange --deltag {tag}_UNREADY --addtag {tag} {{vg}}')
        self._create_disk(self.disks[0],
                          'e9d8c7b6-a5f4-4e3d-8c2b-1a0f9e8d7c6b', slot=4)
        self.write(self.disks[0], 'a preallocated disk')

    def create_thin_disk(self) -> None:
        """Create what oVirt calls a thin provisioned disk."""
        self._create_disk(self.thin_disk,
                          '1b2c3d4e-5f60-4718-92a3-b4c5d6e7f809', slot=5)
        subprocess.run(('qemu-img', 'create', '-q', '-f', 'qcow2',
                        str(device(self.group, self.thin_disk)), '64M'),
                       check=True)

    def _create_lv(self, name: str, options: str = '') -> None:
        self.lvm('lvcreate --autobackup n --contiguous n --size 128m '
                 f'--wipesignatures n {options} --name {name} {{vg}}')

    def _create_disk(self, name: str, image: str, slot: int) -> None:
        self._create_lv(name, '--addtag OVIRT_VOL_INITIALIZING')
        self.lvm('lvchange --autobackup n --deltag OVIRT_VOL_INITIALIZING '
                 f'--addtag MD_{slot} --addtag PU_{_BLANK} '
                 f'--addtag IU_{image} {{vg}}/{name}')


class Ganeti(OtherSystem):
    """Ganeti with the disk templates plain and drbd.

    lib/storage/bdev.py, LogicalVolume: Create and SetInfo; Shutdown does
    nothing. lib/cmdlib/instance_storage.py, GenerateDiskTemplate, for the
    names; lib/cmdlib/instance_utils.py, GetInstanceInfoText, for the tag.
    """

    vg_name = 'xenvg'
    disks = ('0b9f2a31-64c2-4a4f-9d60-6bd6f6ad0a5c.disk0',
             '41fba3f6-6a48-45c6-8a1f-09d3d1b1d9f5.disk0_data')
    drbd_metadata = '41fba3f6-6a48-45c6-8a1f-09d3d1b1d9f5.disk0_meta'

    def create(self) -> None:
        for name, instance in ((self.disks[0], 'web.example.com'),
                               (self.disks[1], 'db.example.com'),
                               (self.drbd_metadata, 'db.example.com')):
            self.lvm(f'lvcreate -Wn -L{_MIB} -n{name} -i1 {{vg}}')
            self.lvm(f'lvchange --addtag originstname+{instance} '
                     f'/dev/{{vg}}/{name}')
            self.write(name, name)


class Lxd(OtherSystem):
    """LXD, with a container and a virtual machine, each created of an image.

    lxd/storage/drivers: driver_lvm_utils.go, createDefaultThinPool,
    createLogicalVolume, createLogicalVolumeSnapshot, lvmFullVolumeName,
    activateVolume and deactivateVolume; driver_lvm_volumes.go, CreateVolume,
    for the second LV of virtual machines; driver_lvm.go, Create, for the tag
    of the group. Incus has the same names.
    """

    vg_name = 'lxd'
    thin_pool = 'LXDThinPool'
    # Of the container web-1 in the project default, and the virtual machine
    # db in the project shop.
    disks = ('containers_web--1', 'virtual-machines_shop_db.block')
    on_stop = ('lvchange --activate n --ignoreactivationskip '
               '/dev/{vg}/{disk}')

    def create(self) -> None:
        self.lvm('vgchange --addtag lxd_pool {vg}')
        self.lvm('lvcreate --yes --wipesignatures y --thinpool '
                 '{vg}/LXDThinPool --extents 100%FREE')
        container, vm_disk = self.disks
        vm_config = vm_disk.removesuffix('.block')
        for image, name in (
                (f'images_{_FINGERPRINT}', container),
                (f'images_{_VM_FINGERPRINT}.block', vm_disk),
                (f'images_{_VM_FINGERPRINT}', vm_config)):
            self.lvm(f'lvcreate --name {image} --yes --wipesignatures y '
                     f'--thin --virtualsize {_BYTES} {{vg}}/LXDThinPool')
            if name == vm_disk:
                self.write(image, 'a disk image')
            else:
                subprocess.run(('mkfs.ext4', '-q',
                                str(device(self.group, image))), check=True)
            self.lvm(f'lvchange --setactivationskip y /dev/{{vg}}/{image}')
            self.stop(image)
            self.lvm(f'lvcreate -n {name} -s /dev/{{vg}}/{image} '
                     '--setactivationskip y -prw')
            self.lvm('lvchange --activate y --ignoreactivationskip '
                     f'/dev/{{vg}}/{name}')
            self.write(name, name, at=8 * units.Mi)


class Libvirt(OtherSystem):
    """libvirt with a pool of type logical.

    src/storage/storage_backend_logical.c,
    virStorageBackendLogicalLVCreate. LVs stay active while the pool is.
    """

    vg_name = 'guests'
    disks = ('mail.example.com',)

    def create(self) -> None:
        self.lvm(f'lvcreate --name {self.disks[0]} -L {_KIB.upper()} {{vg}} '
                 '--yes')
        self.write(self.disks[0], 'a disk of a domain')

    def create_sparse(self) -> None:
        """Create a volume with less allocation than capacity."""
        self.lvm('lvcreate --name sparse -L 8192K --type snapshot '
                 f'--virtualsize {_KIB.upper()} {{vg}} --yes')
        self.write('sparse', 'a sparse volume')

    def create_overlay(self) -> None:
        """Create a volume with a backing store."""
        self.lvm(f'lvcreate --name overlay -L {_KIB.upper()} -s '
                 f'/dev/{{vg}}/{self.disks[0]} --yes')
        self.write('overlay', 'an overlay')


SYSTEMS: tuple[type[OtherSystem], ...] = (
    ProxmoxThick, ProxmoxThin, Ovirt, Ganeti, Lxd, Libvirt)
