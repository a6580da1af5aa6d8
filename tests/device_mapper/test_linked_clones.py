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

PVE::Storage::LvmThinPlugin (pve-storage) makes a template read-only and named
base-ID-disk-N, a linked clone a thin snapshot of it, and, at a rollback, the
disk anew as a thin snapshot of the snapshot. test_other_systems.py has the
disks of other systems.
"""

import hashlib
import os
import pathlib
import types
from unittest import mock

from cinder import exception
from oslo_utils import timeutils
from oslo_utils import units
import pytest

from tests.lab.in_process import CinderInProcess
from tests.lab.scratch import ScratchVolumeGroup

SIZE = 16 * units.Mi


class CloneLab:
    """A group with a thin pool, and a driver whose volumes are in it."""

    def __init__(self, group, cinder):
        self.group = group
        self.cinder = cinder
        self.driver = cinder.driver(group, lvm_type='thin')

    def lvm(self, command):
        self.group.lvm(*command.format(vg=self.group.name).split())

    def path(self, name):
        return pathlib.Path('/dev', self.group.name, name)

    def write(self, name, mark, at=0):
        """Write 4 MiB of a mark to the device."""
        with self.path(name).open('r+b') as device:
            device.seek(at)
            device.write(mark.encode() * (4 * units.Mi // len(mark)))
            os.fsync(device.fileno())

    def data(self, name, size=SIZE):
        with self.path(name).open('rb') as device:
            return hashlib.sha256(device.read(size)).hexdigest()

    def entry(self, name):
        entry, = (entry for entry in self.driver.get_manageable_volumes(
                      [], None, None, None, ['reference'], ['asc'])
                  if entry['reference']['source-name'] == name)
        return entry

    def manage(self, name):
        """Manage an LV that is listed as safe; return the available volume."""
        entry = self.entry(name)
        assert entry['safe_to_manage'], entry['reason_not_safe']
        volume = self.cinder.record_volume()
        self.driver.manage_existing(volume, {'source-name': name})
        volume.status = 'available'
        volume.launched_at = timeutils.utcnow()
        volume.save()
        return volume

    def snapshot(self, volume):
        """Return a new snapshot, created by the driver."""
        snapshot = self.cinder.record_snapshot(volume)
        self.driver.create_snapshot(snapshot)
        return snapshot


@pytest.fixture
def lab(tmp_path):
    with (ScratchVolumeGroup('clones', size=units.Gi,
                             device_mapper=True) as group,
          mock.patch.dict(os.environ, group.environment),
          CinderInProcess(tmp_path) as cinder):
        yield CloneLab(group, cinder)


@pytest.fixture
def proxmox(lab):
    """A template, two linked clones, and a disk after a rollback."""
    lab.lvm('lvcreate --yes --thin --name base-100-disk-0 --virtualsize 16m '
            '{vg}/{vg}-pool')
    lab.write('base-100-disk-0', 'base')
    for name in ('vm-101-disk-0', 'vm-102-disk-0'):
        lab.lvm('lvcreate --yes --snapshot --setactivationskip n --name '
                + name + ' {vg}/base-100-disk-0')
        lab.write(name, name, at=8 * units.Mi)
    lab.lvm('lvchange --permission r {vg}/base-100-disk-0')
    lab.lvm('lvcreate --yes --thin --name vm-103-disk-0 --virtualsize 16m '
            '{vg}/{vg}-pool')
    lab.write('vm-103-disk-0', 'before')
    lab.lvm('lvcreate --yes --snapshot --permission r --name '
            'snap_vm-103-disk-0_monday {vg}/vm-103-disk-0')
    lab.lvm('lvremove --yes {vg}/vm-103-disk-0')
    lab.lvm('lvcreate --yes --snapshot --setactivationskip n --name '
            'vm-103-disk-0 {vg}/snap_vm-103-disk-0_monday')
    return types.SimpleNamespace(
        lab=lab, disks=('vm-101-disk-0', 'vm-102-disk-0', 'vm-103-disk-0'))


def test_the_disks_are_listed_and_managed_as_volumes(proxmox):
    lab = proxmox.lab
    before = {name: lab.data(name) for name in proxmox.disks}
    for name in proxmox.disks:
        volume = lab.manage(name)
        assert lab.data(volume.name) == before[name]
        lab.driver.unmanage(volume)
        assert lab.data(name) == before[name]
    assert lab.entry('vm-101-disk-0')['extra_info'][
        'shares_blocks_with'] == 'base-100-disk-0'


def test_a_clone_outlives_its_template_and_the_other_way_round(proxmox):
    lab = proxmox.lab
    lab.lvm('lvchange --permission rw {vg}/base-100-disk-0')
    base, clone = lab.manage('base-100-disk-0'), lab.manage('vm-101-disk-0')
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


def test_a_clone_is_snapshotted_reverted_cloned_and_extended(proxmox):
    lab = proxmox.lab
    clone = lab.manage('vm-101-disk-0')
    others = {name: lab.data(name)
              for name in ('base-100-disk-0', 'vm-102-disk-0')}
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


def test_a_volume_with_foreign_clones_is_reverted(proxmox):
    lab = proxmox.lab
    lab.lvm('lvchange --permission rw {vg}/base-100-disk-0')
    base = lab.manage('base-100-disk-0')
    clones = {name: lab.data(name)
              for name in ('vm-101-disk-0', 'vm-102-disk-0')}
    expected = lab.data(base.name)
    snapshot = lab.snapshot(base)
    lab.write(base.name, 'overwritten')
    lab.driver.revert_to_snapshot(None, base, snapshot)
    assert lab.data(base.name) == expected
    assert {name: lab.data(name) for name in clones} == clones


def test_a_clone_is_managed_as_a_snapshot_only_under_its_origin(proxmox):
    lab = proxmox.lab
    other = lab.manage('vm-103-disk-0')
    with pytest.raises(exception.ManageExistingInvalidReference,
                       match='or manage this LV as a volume'):
        lab.driver.manage_existing_snapshot(
            lab.cinder.record_snapshot(other),
            {'source-name': 'vm-101-disk-0'})
    lab.lvm('lvchange --permission rw {vg}/base-100-disk-0')
    base = lab.manage('base-100-disk-0')
    expected = lab.data('vm-101-disk-0')
    snapshot = lab.cinder.record_snapshot(base)
    snapshot.update(lab.driver.manage_existing_snapshot(
        snapshot, {'source-name': 'vm-101-disk-0'}))
    snapshot.save()
    lab.driver.unmanage_snapshot(snapshot)
    assert lab.data('vm-101-disk-0') == expected
