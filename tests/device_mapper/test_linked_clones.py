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

"""Thin LVs that share blocks, as Proxmox VE leaves them, with their data.

tests/lab/other_systems.py creates them. test_other_systems.py has the disks of
other systems.
"""

import os
import subprocess
from unittest import mock

from cinder import context
from cinder import exception
from oslo_utils import units
import pytest

from tests.lab import other_systems
from tests.lab.in_process import CinderInProcess
from tests.lab.scratch import ScratchVolumeGroup

TEMPLATE = 'base-100-disk-0'


class CloneLab:
    """Proxmox VE's disks, and a driver whose volumes are in their thin pool.
    """

    def __init__(self, system, cinder):
        self.group = system.group
        self.cinder = cinder
        self.lvm = system.lvm
        self.write = system.write
        self.disks = system.disks
        self.lvm(f'lvrename {{vg}} {system.thin_pool} {{vg}}-pool')
        # So that its data can be compared.
        self.lvm('lvchange --activate y --ignoreactivationskip '
                 f'{{vg}}/{TEMPLATE}')
        self.driver = cinder.driver(self.group, lvm_type='thin')

    def path(self, name):
        return other_systems.device(self.group, name)

    def data(self, name, size=other_systems.SIZE):
        return other_systems.digest(self.path(name), size)

    def state(self, name):
        return [row for row in self.group.report(
                    'lv_name', 'lv_uuid', 'lv_attr', 'lv_tags',
                    'lv_autoactivation') if row['lv_name'] == name]

    def entry(self, name):
        entry, = (entry for entry in self.driver.get_manageable_volumes(
                      [], None, None, None, ['reference'], ['asc'])
                  if entry['reference']['source-name'] == name)
        return entry

    def manage(self, name):
        """Manage an LV that is listed as safe; return the available volume."""
        entry = self.entry(name)
        assert entry['safe_to_manage'], entry['reason_not_safe']
        return self.cinder.manage(self.driver, name)

    def manage_template(self):
        self.lvm(f'lvchange --permission rw {{vg}}/{TEMPLATE}')
        return self.manage(TEMPLATE)

    def manage_snapshot(self, volume, name):
        snapshot = self.cinder.record_snapshot(volume)
        snapshot.update(self.driver.manage_existing_snapshot(
            snapshot, {'source-name': name}))
        snapshot.save()
        return snapshot

    def snapshot(self, volume):
        """Return a new snapshot, created by the driver."""
        snapshot = self.cinder.record_snapshot(volume)
        self.driver.create_snapshot(snapshot)
        return snapshot


@pytest.fixture
def lab(tmp_path):
    with (ScratchVolumeGroup('pve', size=units.Gi,
                             device_mapper=True) as group,
          mock.patch.dict(os.environ, group.environment),
          CinderInProcess(tmp_path) as cinder):
        system = other_systems.ProxmoxThin(group)
        system.create()
        yield CloneLab(system, cinder)


def test_the_disks_are_listed_and_managed_as_volumes(lab):
    before = {name: lab.data(name) for name in lab.disks}
    for name in lab.disks:
        volume = lab.manage(name)
        assert lab.data(volume.name) == before[name]
        lab.driver.unmanage(volume)
        lab.lvm(f'lvchange --activate y {{vg}}/{name}')
        assert lab.data(name) == before[name]
    assert lab.entry('vm-101-disk-0')['extra_info'][
        'shares_blocks_with'] == TEMPLATE


def test_a_clone_outlives_its_template_and_the_other_way_round(lab):
    base, clone = lab.manage_template(), lab.manage('vm-101-disk-0')
    other = lab.data('vm-102-disk-0')
    expected = lab.data(clone.name)
    lab.driver.delete_volume(base)
    assert lab.data(clone.name) == expected
    lab.driver.delete_volume(clone)
    assert lab.data('vm-102-disk-0') == other
    assert base.name not in lab.group.names()
    assert clone.name not in lab.group.names()
    # LVM does not know its origin any more.
    assert 'shares_blocks_with' not in lab.entry('vm-102-disk-0')['extra_info']
    lab.manage('vm-102-disk-0')


def test_a_clone_is_snapshotted_reverted_cloned_and_extended(lab):
    clone = lab.manage('vm-101-disk-0')
    others = {name: lab.data(name) for name in (TEMPLATE, 'vm-102-disk-0')}
    expected = lab.data(clone.name)
    snapshot = lab.snapshot(clone)
    lab.write(clone.name, 'overwritten')
    assert lab.data(clone.name) != expected
    lab.driver.revert_to_snapshot(None, clone, snapshot)
    assert lab.data(clone.name) == expected

    copy = lab.cinder.record_volume()
    lab.driver.create_cloned_volume(copy, clone)
    assert lab.data(copy.name) == expected
    lab.driver.delete_snapshot(snapshot)
    lab.driver.extend_volume(clone, 2)
    assert lab.data(clone.name) == expected
    lab.driver.delete_volume(clone)
    assert lab.data(copy.name) == expected
    assert {name: lab.data(name) for name in others} == others


def test_a_clone_is_migrated_without_its_template(lab):
    clone = lab.manage('vm-101-disk-0')
    others = {name: lab.data(name) for name in (TEMPLATE, 'vm-102-disk-0')}
    expected = lab.data(clone.name)
    with ScratchVolumeGroup('other', size=2 * units.Gi, device_mapper=True,
                            beside=lab.group) as destination:
        moved, _ = lab.driver.migrate_volume(
            context.get_admin_context(), clone, {'capabilities': {
                'location_info': f'LVMVolumeDriver:{lab.driver.hostname}:'
                                 f'{destination.name}:thin:0'}})
        assert moved
        assert other_systems.digest(other_systems.device(
            destination, clone.name)) == expected
    assert clone.name not in lab.group.names()
    assert {name: lab.data(name) for name in others} == others


def test_a_volume_with_foreign_clones_is_reverted(lab):
    base = lab.manage_template()
    clones = {name: lab.data(name)
              for name in ('vm-101-disk-0', 'vm-102-disk-0')}
    expected = lab.data(base.name)
    snapshot = lab.snapshot(base)
    lab.write(base.name, 'overwritten')
    lab.driver.revert_to_snapshot(None, base, snapshot)
    assert lab.data(base.name) == expected
    assert {name: lab.data(name) for name in clones} == clones


def test_a_clone_is_managed_as_a_snapshot_only_under_its_origin(lab):
    other = lab.manage('vm-103-disk-0')
    with pytest.raises(exception.ManageExistingInvalidReference,
                       match='or manage this LV as a volume'):
        lab.manage_snapshot(other, 'vm-101-disk-0')
    expected = lab.data('vm-101-disk-0')
    snapshot = lab.manage_snapshot(lab.manage_template(), 'vm-101-disk-0')
    lab.driver.unmanage_snapshot(snapshot)
    assert lab.data('vm-101-disk-0') == expected


def test_an_inactive_snapshot_is_read_when_it_is_managed(lab, tmp_path):
    image = tmp_path / 'image'
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', image, '8M'],
                   check=True)
    disk = lab.path('vm-103-disk-0')
    lab.lvm('lvcreate --snapshot --name raw {vg}/vm-103-disk-0')
    raw = disk.read_bytes()
    disk.write_bytes(image.read_bytes())
    lab.lvm('lvcreate --snapshot --name image {vg}/vm-103-disk-0')
    disk.write_bytes(raw)
    before = {name: lab.state(name) for name in ('raw', 'image')}
    volume = lab.manage('vm-103-disk-0')

    with pytest.raises(exception.ManageExistingInvalidReference,
                       match='LV image contains a qcow2 image of 8 MiB'):
        lab.manage_snapshot(volume, 'image')
    assert lab.state('image') == before['image']
    snapshot = lab.manage_snapshot(volume, 'raw')
    assert not lab.path(f'_{snapshot.name}').exists()
    lab.driver.unmanage_snapshot(snapshot)
    assert lab.state('raw') == before['raw']
