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

"""Disks of other systems are adopted, used and released.

doc/source/migrate.rst describes what these tests do.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import tempfile
from unittest import mock

from cinder import context
from cinder import exception
from os_brick.initiator import connector
from oslo_utils import units
import pytest

from tests.lab import other_systems
from tests.lab.in_process import CinderInProcess
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import ISCSI

_CONNECTOR = {'ip': '127.0.0.1', 'host': 'guest', 'multipath': False,
              'initiator': 'iqn.2026-01.guest:initiator'}


class Adoption:
    """Another system's group, and a driver that manages its LVs."""

    def __init__(self, system, cinder):
        self.system = system
        self.group = system.group
        self.cinder = cinder
        self.admin = context.get_admin_context()
        if system.thin_pool:
            system.lvm(f'lvrename {{vg}} {system.thin_pool} {{vg}}-pool')
        self.driver = cinder.driver(
            self.group, lvm_type='thin' if system.thin_pool else 'default',
            **ISCSI)

    def digest(self, name):
        return other_systems.digest(other_systems.device(self.group, name))

    def lvs(self):
        """Return what release must restore, of every LV.

        A thin clone loses its origin when it is reverted to a snapshot.
        """
        return self.group.report(
            'lv_name', 'lv_uuid', 'lv_attr', 'lv_size', 'lv_tags',
            'lv_autoactivation')

    def entries(self):
        """Return the listed LVs by their names."""
        return {entry['reference']['source-name']: entry
                for entry in self.driver.get_manageable_volumes(
                    [], None, None, None, ['reference'], ['asc'])}

    def codes(self, name):
        reasons = self.entries()[name]['extra_info']['reasons']
        return [reason['code'] for reason in json.loads(reasons)]

    def manage(self, name):
        return self.cinder.manage(self.driver, name)

    @contextlib.contextmanager
    def attached(self, volume):
        """Attach the volume over iSCSI, as Nova does with os-brick."""
        volume.update(self.driver.create_export(self.admin, volume,
                                                _CONNECTOR))
        volume.save()
        info = self.driver.initialize_connection(volume, _CONNECTOR)
        initiator = connector.InitiatorConnector.factory('ISCSI', None)
        device = initiator.connect_volume(info['data'])
        try:
            yield pathlib.Path(device['path'])
        finally:
            initiator.disconnect_volume(info['data'], device)
            self.driver.terminate_connection(volume, _CONNECTOR)
            self.driver.remove_export(self.admin, volume)

    def use(self, volume):
        """Attach, snapshot, revert and clone a volume; it is as before."""
        expected = self.digest(volume.name)
        with self.attached(volume) as device:
            assert other_systems.digest(device) == expected

        snapshot = self.cinder.record_snapshot(volume)
        self.driver.create_snapshot(snapshot)
        other_systems.write(
            other_systems.device(self.group, volume.name), 'overwritten')
        assert self.digest(volume.name) != expected
        self.driver.revert_to_snapshot(self.admin, volume, snapshot)
        assert self.digest(volume.name) == expected
        self.driver.delete_snapshot(snapshot)

        clone = self.cinder.record_volume()
        self.driver.create_cloned_volume(clone, volume)
        assert self.digest(clone.name) == expected
        self.driver.delete_volume(clone)


@pytest.fixture(scope='module')
def cinder():
    # tgtd reads the targets of Cinders in such folders; see the lab's machine.
    with (tempfile.TemporaryDirectory() as state,
          CinderInProcess(pathlib.Path(state)) as cinder):
        yield cinder


@pytest.fixture
def create(cinder):
    """Return a function that creates a system's LVs, and then the driver.

    It is called with the class of the system, and the methods of it that
    create more LVs than `create` does.
    """
    with contextlib.ExitStack() as cleanup:
        def created(system_class, *more):
            group = cleanup.enter_context(ScratchVolumeGroup(
                system_class.vg_name, size=8 * units.Gi, device_mapper=True))
            cleanup.enter_context(mock.patch.dict(os.environ,
                                                  group.environment))
            system = system_class(group)
            for method in (system_class.create, *more):
                method(system)
            return Adoption(system, cinder)
        yield created


@pytest.mark.parametrize('system_class', other_systems.SYSTEMS,
                         ids=lambda system_class: system_class.__name__)
def test_disks_are_adopted_used_and_released(create, system_class):
    adoption = create(system_class)
    system = adoption.system
    data = {disk: adoption.digest(disk) for disk in system.disks}
    with other_systems.device(system.group, system.disks[0]).open('rb'):
        assert adoption.codes(system.disks[0]) == ['in-use']
    for disk in system.disks:
        system.stop(disk)
    before = adoption.lvs()
    tags = {disk: system.group.tags(disk) for disk in system.disks}
    entries = adoption.entries()

    volumes = {}
    for disk in system.disks:
        assert entries[disk]['safe_to_manage'], entries[disk]
        volume = volumes[disk] = adoption.manage(disk)
        assert system.group.tags(volume.name) > tags[disk]
        assert adoption.digest(volume.name) == data[disk]
    adoption.use(volumes[system.disks[0]])
    for disk in system.disks:
        assert adoption.digest(volumes[disk].name) == data[disk]
        adoption.driver.unmanage(volumes[disk])

    assert adoption.lvs() == before
    for disk in system.disks:
        system.lvm('lvchange --activate y --ignoreactivationskip '
                   f'{{vg}}/{disk}')
        assert adoption.digest(disk) == data[disk]


def test_a_template_is_made_writable_and_adopted(create):
    adoption = create(other_systems.ProxmoxThin)
    system = adoption.system
    reason = adoption.entries()['base-100-disk-0']['reason_not_safe']
    assert 'is read-only' in reason
    assert 'does not change vm-101-disk-0, vm-102-disk-0' in reason
    system.lvm('lvchange --permission rw {vg}/base-100-disk-0')
    clones = {disk: adoption.digest(disk) for disk in system.disks}
    volume = adoption.manage('base-100-disk-0')
    other_systems.write(
        other_systems.device(system.group, volume.name), 'changed')
    adoption.driver.delete_volume(volume)
    assert {disk: adoption.digest(disk) for disk in system.disks} == clones


def test_a_volume_stays_inactive_at_boot_only_until_it_is_exported(create):
    adoption = create(other_systems.Ovirt)
    volume = adoption.manage(adoption.system.disks[0])
    path = other_systems.device(adoption.group, volume.name)
    adoption.system.lvm('vgchange --activate n {vg}')
    adoption.system.lvm('vgchange --activate ay {vg}')
    assert not path.exists()
    with adoption.attached(volume):
        assert path.exists()


def test_volumes_of_libvirt_that_are_snapshots_are_refused(create):
    libvirt = other_systems.Libvirt
    adoption = create(libvirt, libvirt.create_sparse, libvirt.create_overlay)
    assert adoption.entries().keys() == {*libvirt.disks}
    for name in ('sparse', 'overlay'):
        with pytest.raises(exception.ManageExistingInvalidReference,
                           match='is a snapshot of'):
            adoption.manage(name)


_REFUSED = {
    (other_systems.ProxmoxThick, other_systems.ProxmoxThick.create_chain):
        dict.fromkeys(other_systems.ProxmoxThick.chain, 'image-format'),
    (other_systems.Ovirt, other_systems.Ovirt.create_thin_disk):
        {other_systems.Ovirt.thin_disk: 'image-format',
         **dict.fromkeys(other_systems.Ovirt.own, 'not-a-disk')},
    (other_systems.Ganeti,):
        {other_systems.Ganeti.drbd_metadata: 'not-a-disk'},
}


@pytest.mark.parametrize(('created', 'refused'), _REFUSED.items(),
                         ids=[created[0].__name__ for created in _REFUSED])
def test_what_is_not_a_raw_disk_is_refused(create, created, refused):
    adoption = create(*created)
    for name, code in refused.items():
        assert code in adoption.codes(name)
