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


"""Copying and clearing without a device; tests/device_mapper has the rest."""

import datetime
import os
from unittest import mock

from cinder import exception
from cinder.volume import volume_utils
from cinder.volume.drivers import lvm
from oslo_utils import units
import pytest

MINUTE = datetime.timedelta(minutes=1)
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def test_an_extend_to_the_size_of_the_lv_succeeds(group, driver, volume):
    long = volume(size=1)
    group.create(long.name, '2g')
    before = group.changes()
    driver.extend_volume(long, 2)
    assert group.changes() == before
    driver.extend_volume(long, 3)
    assert group.report('lv_size')[0]['lv_size'] == str(3 * units.Gi)


@pytest.mark.parametrize('size', ['1028m', '1g'])
def test_cinders_own_migration_never_truncates_an_lv(
        group, driver, volume, size):
    recorded = volume(size=1)
    group.create(recorded.name, size)
    if size == '1g':
        driver.before_volume_copy(None, recorded, None)
        return
    with pytest.raises(exception.VolumeMigrationFailed,
                       match='extend the volume to 2 GiB first'):
        driver.before_volume_copy(None, recorded, None)


@pytest.mark.parametrize(('source', 'destination', 'here'), [
    ('thin', 'default', False), ('thin', 'thin', True),
    ('default', 'default', True), ('default', 'thin', True)])
def test_a_thin_lv_is_not_copied_without_its_zeros(
        zoo_group, load, volume, source, destination, here):
    driver = load(lvm_type=source)
    moved = volume(size=1)
    zoo_group.create(moved.name, '4m')
    # location_info: the driver, host, volume group, lvm_type and mirrors. This
    # volume group has a misleading name.
    host = {'capabilities': {
        'location_info': f'LVMVolumeDriver:host:thin:{destination}:0'}}
    with mock.patch.object(lvm.LVMVolumeDriver, 'migrate_volume',
                           autospec=True, return_value=(True, None)
                           ) as copied:
        assert driver.migrate_volume(None, moved, host) == (
            (True, None) if here else (False, None))
    assert copied.called is here


def test_an_lv_larger_than_its_record_is_migrated_whole(group, driver, volume):
    long = volume(size=1)
    group.create(long.name, '1028m')
    with mock.patch.object(lvm.LVMVolumeDriver, 'migrate_volume',
                           autospec=True) as copied:
        driver.migrate_volume(None, long, {'capabilities': {}})
    (_, _, given, _), _ = copied.call_args
    assert (given['name'], given['size']) == (long.name, 2)


def test_an_origin_of_unmanaged_snapshots_is_not_migrated(
        zoo_group, driver, volume):
    origin = volume()
    driver.manage_existing(origin, {'source-name': 'origin'})
    with pytest.raises(exception.VolumeIsBusy):
        driver.migrate_volume(None, origin, {'capabilities': {}})


@pytest.mark.parametrize(('size', 'at_most', 'cleared'), [
    ('4m', 0, 4), ('4m', 100, 4), ('1028m', 0, 1028), ('1028m', 100, 100)])
def test_an_lv_is_cleared_to_its_end_and_no_further(
        group, load, volume, size, at_most, cleared):
    driver = load(volume_clear='zero', volume_clear_size=at_most)
    deleted = volume(size=2, launched_at=NOW)
    group.create(deleted.name, size)
    with (mock.patch.object(os.path, 'exists', autospec=True,
                            return_value=True),
          mock.patch.object(volume_utils, 'copy_volume',
                            autospec=True) as copied):
        driver.delete_volume(deleted)
    (source, device, mib, _), _ = copied.call_args
    assert (source, mib) == ('/dev/zero', cleared)
    assert device == '/dev/mapper/scratch-' + deleted.name.replace('-', '--')
    assert group.names() == {}


def test_the_cow_device_of_a_thick_snapshot_is_cleared(zoo_group, load):
    driver = load(volume_clear='zero')
    room = next(int(row['lv_size'])
                for row in zoo_group.report('lv_name', 'lv_size')
                if row['lv_name'] == 'thick-snapshot')
    with (mock.patch.object(os.path, 'exists', autospec=True,
                            return_value=True),
          mock.patch.object(volume_utils, 'copy_volume',
                            autospec=True) as copied):
        driver._clear_volume({'name': 'thick-snapshot'}, is_snapshot=True)
    (_, device, mib, _), _ = copied.call_args
    assert device == '/dev/mapper/scratch-thick--snapshot-cow'
    assert mib * units.Mi == room


@pytest.mark.parametrize('lvm_type', ['default', 'thin'])
def test_a_revert_recreates_the_snapshot_with_its_tags(
        zoo_group, load, volume, snapshot, lvm_type):
    driver = load(lvm_type=lvm_type)
    origin = volume()
    taken = snapshot(origin)
    zoo_group.create(f'_{taken.name}', '4m')
    zoo_group.lvm('lvchange', '--addtag', 'cinder_lvm_manage:name=monday',
                  f'{zoo_group.name}/_{taken.name}')

    def remove(name):
        zoo_group.lvm('lvremove', '--yes', f'{zoo_group.name}/{name}')

    def create_anew(_):
        zoo_group.create(f'_{taken.name}', '4m')

    with (mock.patch.object(driver.vg, 'revert', autospec=True,
                            side_effect=remove),
          mock.patch.object(driver.vg, 'deactivate_lv', autospec=True),
          mock.patch.object(driver.vg, 'activate_lv', autospec=True),
          mock.patch.object(driver, 'create_snapshot', autospec=True,
                            side_effect=create_anew)):
        driver.revert_to_snapshot(None, origin, taken)
    assert zoo_group.tags(f'_{taken.name}') == {
        'cinder_lvm_manage:name=monday'}


def test_a_thick_snapshot_has_space_for_its_whole_origin(
        group, driver, volume, snapshot, commands):
    origin = volume()
    group.create(origin.name, '4m')
    taken = snapshot(origin)
    # Without device-mapper LVM fails; the test is of the command.
    with pytest.raises(exception.VolumeBackendAPIException):
        driver.create_snapshot(taken)
    command = commands[-1]
    assert command[command.index('lvcreate'):] == (
        'lvcreate', '--snapshot', '--extents', '100%ORIGIN', '--name',
        f'_{taken.name}', f'scratch/{origin.name}')


def test_a_missing_lv_is_an_error(group, driver, volume):
    with pytest.raises(exception.VolumeBackendAPIException,
                       match=r'LV volume-\S+ not found'):
        driver.create_cloned_volume(volume(), volume())


@pytest.fixture
def odd_group(group):
    """A group with extents of 12 MiB, which do not divide a GiB."""
    group.lvm('vgchange', '--physicalextentsize', '12m', group.name)
    return group


def test_in_odd_extents_cinders_own_lv_is_migrated(odd_group, driver, volume):
    made = volume(size=1)
    driver.create_volume(made)
    row, = odd_group.report('lv_size')
    assert int(row['lv_size']) > units.Gi
    driver.before_volume_copy(None, made, None)


def test_in_odd_extents_extending_as_advised_allows_migration(
        odd_group, driver, volume):
    # The LV is older than its volume, so it was adopted.
    adopted = volume(size=1, created_at=NOW + 10 ** 6 * MINUTE)
    odd_group.create(adopted.name, '1g')
    with pytest.raises(exception.VolumeMigrationFailed,
                       match='extend the volume to 3 GiB first'):
        driver.before_volume_copy(None, adopted, None)
    driver.extend_volume(adopted, 3)
    adopted.size = 3
    assert odd_group.report('lv_size') == [{'lv_size': str(3 * units.Gi)}]
    driver.before_volume_copy(None, adopted, None)


def test_in_odd_extents_a_clone_has_the_size_of_its_record(
        odd_group, driver, volume):
    source, clone = volume(size=1), volume(size=1)
    driver.create_volume(source)
    with mock.patch.object(lvm.LVMVolumeDriver, 'create_cloned_volume',
                           autospec=True) as copied:
        driver.create_cloned_volume(clone, source)
    (_, made, copied_from), _ = copied.call_args
    assert made.size == 1
    assert copied_from['size'] * units.Gi == int(
        odd_group.report('lv_size')[0]['lv_size'])


@pytest.mark.parametrize('size', ['1028m', '1536m'])
def test_a_clone_of_an_lv_larger_than_its_record_is_complete(
        group, driver, volume, size):
    source, clone = volume(size=1), volume(size=1)
    group.create(source.name, size)
    with mock.patch.object(lvm.LVMVolumeDriver, 'create_cloned_volume',
                           autospec=True) as copied:
        driver.create_cloned_volume(clone, source)
    (_, made, copied_from), _ = copied.call_args
    assert (made.name, made.size) == (clone.name, 2)
    assert copied_from['size'] * 1024 == int(size[:-1])
    clone.refresh()
    assert clone.size == 1
