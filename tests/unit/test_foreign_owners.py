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

"""Which system created an LV, by its names and tags."""

import string

from hypothesis import given
from hypothesis import strategies as st
import pytest

from cinder_lvm_manage import foreign_owners
from cinder_lvm_manage.foreign_owners import owner_of

A = '0f4b1c3e-6a77-4a51-9c1d-2f6a35f6a001'
B = '9d2c7a10-3b5f-4a0e-8f11-6c1f0e7b2002'
STORAGE_DOMAIN = 'RHAT_storage_domain'
XEN = f'VG_XenStorage-{A}'

# The LV, its tags, its group, the group's tags, and the owner.
DISKS = [
    (f'volume-{A}', [], 'vg', [], f'Cinder, volume {A}'),
    (f'_snapshot-{A}', [], 'vg', [], f'Cinder, snapshot {A}'),
    (f'volume-{A}', [f'cinder_lvm_manage:id={B}', 'cinder_lvm_manage:name=x'],
     'vg', [], f'Cinder, managed as {B}'),
    (f'{A}_disk', [], 'nova', [], f'Nova, instance {A}'),
    (f'{A}_disk.config', [], 'nova', [], f'Nova, instance {A}'),
    ('vm-100-disk-0', [], 'pve', [], 'Proxmox VE, guest 100'),
    ('vm-100-disk-0.qcow2', ['pve-vm-100'], 'pve', [],
     'Proxmox VE, guest 100'),
    ('vm-100-cloudinit', [], 'pve', [], 'Proxmox VE, guest 100'),
    ('base-9000-disk-1', [], 'pve', [], 'Proxmox VE, template 9000'),
    ('snap_vm-100-disk-0_before_upgrade', [], 'pve', [],
     'Proxmox VE, guest 100, snapshot before_upgrade'),
    ('snap_vm-100-disk-0_s1.qcow2', ['pve-vm-100'], 'pve', [],
     'Proxmox VE, guest 100, snapshot s1'),
    ('renamed', ['a', 'pve-vm-7'], 'pve', [], 'Proxmox VE, guest 7'),
    (A, ['MD_4', f'PU_{B}', f'IU_{B}'], A, [STORAGE_DOMAIN],
     f'oVirt, image {B}'),
    (A, ['MD_4', f'IU__remove_me_ZERO_{B}'], 'vg', [], f'oVirt, image {B}'),
    ('other', [], B, ['MDT_CLASS=Data', STORAGE_DOMAIN],
     f'oVirt, storage domain {B}'),
    (f'LV-{B}', [], XEN, [], f'XCP-ng, VDI {B}'),
    ('other', [], XEN, [], f'XCP-ng, storage repository {A}'),
    (f'{A}.disk0', ['originstname+web.example.com'], 'xenvg', [],
     'Ganeti, instance web.example.com'),
    (f'{A}.disk0_data', ['originstname+web'], 'xenvg', [],
     'Ganeti, instance web'),
    (f'{A}.disk0', [], 'xenvg', [], 'Ganeti'),
    (f'{A}.disk1_data', [], 'xenvg', [], 'Ganeti'),
    ('containers_web--1', [], 'lxd', ['lxd_pool'],
     'LXD or Incus, container web-1'),
    ('containers_web--1-snap0', [], 'lxd', [],
     'LXD or Incus, container web-1/snap0'),
    ('virtual-machines_win.block', [], 'lxd', [],
     'LXD or Incus, virtual machine win'),
    ('virtual-machines_win', [], 'lxd', [],
     'LXD or Incus, virtual machine win'),
    ('custom_default_data', [], 'lxd', [],
     'LXD or Incus, custom volume default_data'),
    ('custom_install.iso', [], 'lxd', [],
     'LXD or Incus, custom volume install'),
    ('images_3f2a.block', [], 'lxd', [], 'LXD or Incus, image 3f2a'),
    ('web_00000', [], 'drbdpool', [], 'LINSTOR, resource web'),
    (f'pvc-{A}_00001', [], 'drbdpool', [], f'LINSTOR, resource pvc-{A}'),
    ('web_00000_snap1', [], 'drbdpool', [], 'LINSTOR, resource web'),
    ('vm-work-private', [], 'qubes_dom0', [], 'Qubes OS, qube work'),
    ('vm-sys-net-root-1700000000-back', [], 'qubes_dom0', [],
     'Qubes OS, qube sys-net'),
    ('lv-one-12-0', [], 'vg-one-100', [], 'OpenNebula, VM 12'),
    (f'pvc-{A}', [], 'lvmvg', [],
     f'OpenEBS or another CSI driver, persistent volume pvc-{A}'),
    (A, [], 'myvg1', [], 'TopoLVM or another system that names LVs by UUID'),
]
SAVED_MEMORY = "manage the guest's disks, named vm-100-disk-N"
OVIRT = ('leave it to oVirt; if the storage domain is no longer used, remove '
         'it in oVirt')
VDI_EXPORT = (f'export its disk with `xe vdi-export uuid={B} format=raw '
              'filename=FILE`, copy FILE to a new LV and manage that')
CEPH = ('leave it to Ceph; if that OSD no longer exists, run `ceph-volume lvm '
        'zap`')
NOT_DISKS = [
    ('vm-100-state-before', [], 'pve', [], 'Proxmox VE, guest 100',
     'is the saved memory of Proxmox VE guest 100',
     SAVED_MEMORY),
    *((name, [], B, ['MDT_CLASS=Data', STORAGE_DOMAIN],
       f'oVirt, storage domain {B}',
       f'is the {name} volume of an oVirt storage domain',
       OVIRT) for name in ('metadata', 'ids', 'leases', 'xleases', 'inbox',
                             'outbox', 'master')),
    ('MGT', [], XEN, [], f'XCP-ng, storage repository {A}',
     'contains the metadata of an XCP-ng storage repository',
     'leave it to XCP-ng'),
    (f'VHD-{B}', [], XEN, [], f'XCP-ng, VDI {B}',
     'is an XCP-ng VHD, which may depend on other VHDs in its chain',
     VDI_EXPORT),
    (f'{A}.disk0_meta', ['originstname+web'], 'xenvg', [],
     'Ganeti, instance web',
     'contains the DRBD metadata of a disk of Ganeti instance web',
     f'remove DRBD from {A}.disk0_data, then manage that'),
    (f'{A}.disk0_meta', [], 'xenvg', [], 'Ganeti',
     'contains the DRBD metadata of a disk of a Ganeti instance',
     f'remove DRBD from {A}.disk0_data, then manage that'),
    ('anything', ['ceph.cluster_name=ceph', 'ceph.osd_id=3'], 'ceph-x', [],
     'Ceph, OSD 3', 'belongs to Ceph OSD 3', CEPH),
    (f'osd-block-{A}', [], 'ceph-x', [], f'Ceph, OSD {A}',
     f'belongs to the Ceph OSD with the UUID {A}',
     CEPH),
    ('web.meta_00000', [], 'drbdpool', [], 'LINSTOR, resource web',
     'contains the DRBD metadata of LINSTOR resource web',
     'remove DRBD from web_00000, then manage that'),
    ('web.dmcache_cache_00000', [], 'drbdpool', [], 'LINSTOR, resource web',
     'is a cache of LINSTOR resource web',
     'remove the cache from web_00000, then manage that'),
]


@pytest.mark.parametrize(('name', 'tags', 'vg', 'vg_tags', 'text'), DISKS)
def test_a_disk_of_another_system_has_an_owner(name, tags, vg, vg_tags, text):
    owner = owner_of(name, tags, vg, vg_tags)
    assert owner
    assert str(owner) == text
    assert not owner.why
    assert not owner.remedy


@pytest.mark.parametrize(
    ('name', 'tags', 'vg', 'vg_tags', 'text', 'why', 'remedy'), NOT_DISKS)
def test_an_lv_that_is_not_a_disk_has_a_reason_and_a_remedy(
        name, tags, vg, vg_tags, text, why, remedy):
    owner = owner_of(name, tags, vg, vg_tags)
    assert owner
    assert (str(owner), owner.why, owner.remedy) == (text, why, remedy)


@pytest.mark.parametrize('name', [
    'root', 'swap', 'data1', 'metadata', 'ids', 'master', 'MGT', 'volume-1',
    'vm', 'vm-web', 'vm-web-data', 'base-system', 'images', 'containers',
    'db_2024', 'db_20240', 'web.meta', 'osd-block-1', 'pvc-1', 'snap_vm',
    f'{A}x', f'volume-{A}x', f'x{A}.disk0', 'lv-one', A.upper()])
def test_an_ordinary_name_has_no_owner(name):
    assert owner_of(name, ['backup', 'tier=gold'], 'vg', ['prod']) is None


def test_each_line_of_the_table_applies_to_an_lv():
    examples = [row[:4] for row in DISKS + NOT_DISKS]
    first = [next(number for number, mark
                  in enumerate(foreign_owners.MARKS)
                  if mark.owner(*example)) for example in examples]
    assert set(first) == set(range(len(foreign_owners.MARKS)))


LEGAL = string.ascii_letters + string.digits + '+_.-'
legal_names = st.text(LEGAL, min_size=1, max_size=127)
legal_tags = st.lists(st.text(LEGAL + '/=!:&#', min_size=1, max_size=1024))


@given(legal_names, legal_tags, legal_names, legal_tags)
def test_any_names_and_tags_are_accepted(name, tags, vg, vg_tags):
    owner = owner_of(name, tags, vg, vg_tags)
    assert owner is None or bool(owner.why) == bool(owner.remedy)
