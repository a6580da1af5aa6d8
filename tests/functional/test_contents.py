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

"""LVs with contents of all kinds, and LVs of other systems, on real LVM."""

import contextlib
import json
import os
import pathlib
import struct
from unittest import mock
import uuid

from cinder import exception
import pytest

from cinder_lvm_manage import samples
from cinder_lvm_manage import volume_group as vg_module
from tests.functional.test_volumes import by_name
from tests.functional.test_volumes import list_volumes
from tests.lab.device_nodes import device_nodes
from tests.lab.scratch import ScratchVolumeGroup
from tests.unit.contents import changed
from tests.unit.contents import ext4_with_label
from tests.unit.contents import names
from tests.unit.contents import recorded

ID = '0f4b1c3e-6a77-4a51-9c1d-2f6a35f6a001'
OTHER_ID = '9d2c7a10-3b5f-4a0e-8f11-6c1f0e7b2002'

IMAGES = {'qcow2', 'qcow2-backing', 'qcow2-data-file', 'qcow2-old', 'qed',
          'vdi', 'vhd', 'vhdx', 'vmdk', 'vmdk-stream'}
METADATA = {'ceph-bluestore', 'drbd-external', 'sanlock-lockspace',
            'sanlock-resource'}


@contextlib.contextmanager
def volume_group(name):
    with (ScratchVolumeGroup(name) as vg,
          mock.patch.dict(os.environ, vg.environment)):
        yield vg


class Lab:
    """A volume group whose LVs have device nodes, and drivers for it."""

    def __init__(self, group, nodes, cinder):
        self.group = group
        self.nodes = nodes
        self.driver = lambda **options: cinder.driver(group, **options)

    def create(self, name, sample=None):
        """Create an LV with these contents."""
        sample = sample or recorded(name)
        self.group.create(name, f'{sample.size}b')
        node = self.nodes.create(name)
        with node.open('r+b') as device:
            device.write(sample.head)
            device.seek(sample.size - len(sample.tail))
            device.write(sample.tail)
        return node


@pytest.fixture
def lab(cinder):
    with (volume_group(f'contents{os.getpid()}') as group,
          device_nodes(group) as nodes):
        yield Lab(group, nodes, cinder)


def contents_of(entries):
    return {name: entry['extra_info']['contents']
            for name, entry in by_name(entries).items()}


def codes(entry):
    return [reason['code']
            for reason in json.loads(entry['extra_info']['reasons'])]


def scripts(commands):
    """The names of the programs, and of the scripts that Python runs."""
    return [next(word for word in map(os.path.basename, command)
                 if word.endswith('.py') or word == 'lvm')
            for command in commands]


def assert_refused(group, driver, volume, name, why):
    before = group.changes()
    for manage in (driver.manage_existing_get_size, driver.manage_existing):
        with pytest.raises(exception.ManageExistingInvalidReference) as error:
            manage(volume(), {'source-name': name})
        assert f'LV {name} {why}' in str(error.value)
    assert group.changes() == before


def test_only_raw_disks_are_safe_and_can_be_managed(lab, volume, commands):
    for name in names():
        lab.create(name)
    driver = lab.driver()
    commands.clear()
    listed = by_name(list_volumes(driver))
    assert scripts(commands) == ['lvm', 'device_reader.py', 'libblkid.py']

    assert listed.keys() == set(names())
    assert {name for name, entry in listed.items()
            if codes(entry) == ['image-format']} == IMAGES
    assert {name for name, entry in listed.items()
            if codes(entry) == ['storage-metadata']} == METADATA
    for name in IMAGES | METADATA:
        assert_refused(lab.group, driver, volume, name,
                       listed[name]['reason_not_safe'])
    for name in listed.keys() - IMAGES - METADATA:
        assert listed[name]['safe_to_manage'], name
        assert listed[name]['extra_info']['image_format'] == 'raw'
        commands.clear()
        driver.manage_existing(volume(), {'source-name': name})
        assert scripts(commands[:3]) == ['lvm', 'device_reader.py',
                                         'libblkid.py']
        assert len(commands) == 6
    assert {name: listed[name]['extra_info']['image_format']
            for name in ('qcow2', 'vhdx')} == {'qcow2': 'qcow2',
                                               'vhdx': 'vhdx'}
    assert contents_of(listed.values())['gpt'] == 'GPT partition table'


def test_the_operator_can_allow_image_formats(lab, volume):
    for name in ('qcow2', 'vdi', 'zeros'):
        lab.create(name)
    driver = lab.driver(lvm_manage_image_formats='qcow2, vhd')
    listed = by_name(list_volumes(driver))
    assert {name for name, entry in listed.items()
            if entry['safe_to_manage']} == {'qcow2', 'zeros'}
    driver.manage_existing(volume(), {'source-name': 'qcow2'})


def test_contents_are_not_read_if_the_operator_says_so(lab, volume, commands):
    lab.create('qcow2')
    driver = lab.driver(lvm_manage_read_contents=False)
    commands.clear()
    entry, = list_volumes(driver)
    assert scripts(commands) == ['lvm']
    assert entry['safe_to_manage']
    assert entry['extra_info']['contents'] == (
        'not read: lvm_manage_read_contents is off')
    assert 'image_format' not in entry['extra_info']
    driver.manage_existing(volume(), {'source-name': 'qcow2'})


def test_an_image_names_a_file_of_the_host_that_is_not_opened(
        lab, volume, tmp_path):
    fifo = str(tmp_path / 'fifo').encode()
    # Opening it would block.
    os.mkfifo(fifo)
    for name, path in (('passwd', b'/etc/passwd'), ('fifo', fifo)):
        lab.create(name, changed(
            'qcow2', (8, struct.pack('>QI', 512, len(path))), (512, path)))
    driver = lab.driver()
    listed = by_name(list_volumes(driver))
    assert ('contains a qcow2 image of 10 GiB with backing file "/etc/passwd"'
            in listed['passwd']['reason_not_safe'])
    assert ('that the files it refers to may be read'
            in listed['passwd']['reason_not_safe'])
    assert codes(listed['fifo']) == ['image-format']
    assert_refused(lab.group, driver, volume, 'passwd', 'contains a qcow2')


def test_no_control_character_of_a_label_is_shown(lab):
    lab.create('swap', changed('swap', (1052, b'\x1b[2J\n</b>')))
    lab.create('ext4', ext4_with_label(b'\x1b]0;x\x07\0'))
    listed = contents_of(list_volumes(lab.driver()))
    assert listed['swap'] == r'swap area "\x1b\x5b2J\x0a\x3c/b\x3e"'
    assert listed['ext4'] == r'ext4 file system "\x1b\x5d0\x3bx\x07"'


def test_a_hanging_device_does_not_affect_others(lab, tmp_path, monkeypatch):
    # A pipe that nobody writes to stands in for it.
    monkeypatch.setattr(vg_module, '_leads_to',
                        lambda node, lv: pathlib.Path(node).exists())
    monkeypatch.setattr(samples, '_DEVICE_SECONDS', 0.5)
    os.mkfifo(tmp_path / 'pipe')
    for name in ('ext4', 'qcow2'):
        lab.create(name)
    lab.group.create('hanging', '4m')
    lab.nodes.link('hanging', str(tmp_path / 'pipe'))
    listed = by_name(list_volumes(lab.driver()))
    assert contents_of(listed.values()) == {
        'ext4': 'ext4 file system "data"',
        'hanging': 'not read: no answer within 0.5 seconds',
        'qcow2': 'qcow2 image of 10 GiB'}
    assert codes(listed['hanging']) == ['contents-unknown']
    assert not listed['qcow2']['safe_to_manage']


def test_a_volume_in_cinder_may_contain_an_image(lab, volume):
    driver = lab.driver()
    owned = volume(status='available')
    lab.create(owned.name, recorded('qcow2'))
    entry, = list_volumes(driver, [owned])
    assert codes(entry) == ['already-managed']
    assert entry['extra_info']['contents'] == 'not read: Cinder manages it'


PROXMOX = {
    'vm-100-disk-0': ((), 'Proxmox VE, guest 100', ''),
    'vm-101-disk-0.qcow2': (('pve-vm-101',), 'Proxmox VE, guest 101', ''),
    'base-9000-disk-0': ((), 'Proxmox VE, template 9000', ''),
    'vm-100-state-before': (
        (), 'Proxmox VE, guest 100',
        'is the saved memory of Proxmox VE guest 100')}
GANETI = {
    f'{ID}.disk0_data': (('originstname+web.example.com',),
                         'Ganeti, instance web.example.com', ''),
    f'{ID}.disk0_meta': (
        ('originstname+web.example.com',), 'Ganeti, instance web.example.com',
        'contains the DRBD metadata of a disk of Ganeti instance web')}
CEPH = {
    f'osd-block-{ID}': (
        ('ceph.cluster_name=ceph', 'ceph.osd_id=3', f'ceph.osd_fsid={ID}'),
        'Ceph, OSD 3', 'belongs to Ceph OSD 3')}
LXD = {
    'containers_web--1': ((), 'LXD or Incus, container web-1', ''),
    'virtual-machines_win.block': (
        (), 'LXD or Incus, virtual machine win', '')}
NOBODY = {'data1': ((), None, '')}
OVIRT = {
    ID: (('MD_4', f'PU_{uuid.UUID(int=0)}', f'IU_{OTHER_ID}'),
         f'oVirt, image {OTHER_ID}', ''),
    **{name: ((), f'oVirt, storage domain {OTHER_ID}',
              f'is the {name} volume of an oVirt storage domain')
       for name in ('metadata', 'ids', 'leases', 'xleases', 'inbox', 'outbox',
                    'master')}}
XCP_NG = {
    'MGT': ((), f'XCP-ng, storage repository {OTHER_ID}',
            'contains the metadata of an XCP-ng storage repository'),
    f'VHD-{ID}': ((), f'XCP-ng, VDI {ID}', 'is an XCP-ng VHD'),
    f'LV-{ID}': ((), f'XCP-ng, VDI {ID}', '')}


@pytest.mark.parametrize(('vg_name', 'vg_tags', 'lvs'), [
    ('owners', [], PROXMOX | GANETI | CEPH | LXD | NOBODY),
    (OTHER_ID, ['MDT_CLASS=Data', 'RHAT_storage_domain'], OVIRT),
    (f'VG_XenStorage-{OTHER_ID}', [], XCP_NG)])
def test_lvs_of_other_systems_have_an_owner(cinder, volume, commands, vg_name,
                                            vg_tags, lvs):
    with volume_group(vg_name) as group:
        for tag in vg_tags:
            group.lvm('vgchange', '--addtag', tag, vg_name)
        for name, (tags, *_) in lvs.items():
            group.create(name, '4m')
            for tag in tags:
                group.lvm('lvchange', '--addtag', tag, f'{vg_name}/{name}')
        driver = cinder.driver(group)
        commands.clear()
        listed = by_name(list_volumes(driver))
        assert len(commands) == 1
        assert {name: entry['extra_info'].get('owner') for name, entry
                in listed.items()} == {
            name: owner for name, (_, owner, _) in lvs.items()}
        for name, (_, _, why) in lvs.items():
            assert listed[name]['safe_to_manage'] is not bool(why)
            if why:
                assert codes(listed[name]) == ['not-a-disk']
                assert_refused(group, driver, volume, name, why)
                continue
            managed = volume()
            driver.manage_existing(managed, {'source-name': name})
            entry = by_name(list_volumes(driver))[managed.name]
            assert 'owner' not in entry['extra_info']
            driver.unmanage(managed)
        assert group.names().keys() == lvs.keys()
